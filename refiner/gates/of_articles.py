"""The gates of a whole record. Each returns what it found, or None: the article passes."""

import re
from collections import Counter

from refiner.gates.folding import UNSPACED
from refiner.gates.texts import Article, num_words

#: Longest evidence, in characters.
MAX_EVIDENCE_CHARS = 80

#: Characters of an article in which a refusal stands.
_REFUSAL_CHARS = 240
_CANNOT = (
    r"(?:can(?:not| ?not|'t)|(?:am|'m) (?:unable|not able) to|am not allowed to|won't|do not|don't|"
    r"could not|couldn't)"
)
_DOING = (
    r"(?:assist|help (?:you|with)|provide|identify|write|generate|create|view|see|process|access|"
    r"determine|comply|fulfil|answer|do that|recogni[sz]e|have (?:access|the ability))"
)
_REFUSAL = re.compile(
    rf"(?:.{{0,40}}\b(?:sorry|apologi[sz]e|unfortunately|apologies)\b.{{0,60}}\b(?:i|we) ?{_CANNOT}\b"
    rf"|.{{0,80}}\bi ?{_CANNOT} {_DOING}\b"
    r"|.{0,40}\bas an? (?:ai|artificial intelligence)\b.{0,40}\bi\b"
    r"|.{0,20}(?:抱歉|对不起|很遗憾|作为一个?人工智能|作为一个?ai|申し訳).{0,30}(?:无法|不能|我|できま)"
    r"|.{0,20}(?:lo siento|je suis désolée?|desculpe|es tut mir leid|leider kann ich).{0,60})"
)

#: Besides the full stop.
_SENTENCE_ENDS = "!?;。"
#: Shortest sentence whose repetition means anything, in characters.
_MIN_SENTENCE_CHARS = 12
#: The same sentence as often as this is a loop.
_MAX_SAME_SENTENCES = 2
#: Sentences longer than this may hold a loop without a full stop, in characters.
_LONG_SENTENCE_CHARS = 300
_GRAM = 3
#: Share of a long sentence's word triples that occur in it before.
_MAX_REPEATED_SHARE = 0.4

#: SK-VQA's words.
_IR_WORDS = ("picture", "photo", "image", "painting")
_IR = re.compile(r"\b(?:pictures?|photos?|images?|paintings?)\b")
#: Substrings, for the words of an image that the list above does not have.
_IR_EXTENDED_SIGNS = (
    *("photograph", "pictured", "imagery", "snapshot", "screenshot", "illustrat", "depict"),
    *("drawing", "sketch", "portrait", "thumbnail", "caption", "foreground", "background"),
    *("图片", "照片", "图像", "图中", "画面", "圖片", "照片", "圖像", "画像", "写真"),
    *("imagen", "fotograf", "imagem", "foto ", "fotos ", "bild ", "bilder "),
)
_POINTING_SIGNS = (
    *("image", "pictur", "photo", "snapshot", "screenshot"),
    *("n here", "n above", "n below", "d here", "d above", "d below"),
)
_PICTURE = r"(?:images?|pictures?|photos?|photographs?|snapshots?|screenshots?)"
_POINTING = re.compile(
    rf"\b(?:this|these|the (?:given|provided|above|attached|accompanying|following)) {_PICTURE}\b"
    rf"|\b(?:in|from|of|within|by) the {_PICTURE} ?(?:,|\.|;|\)|is\b|are\b|above|below|provided|shown)"
    rf"|\bthe {_PICTURE} (?:shows?|depicts?|features?|captures?|displays?|portrays?|presents?|"
    r"illustrates?|appears? to|is of|above|below)\b"
    r"|\b(?:shown|seen|pictured|depicted) (?:here|above|below)\b"
    rf"|\b(?:as )?(?:shown|seen|pictured|depicted|featured) in (?:the|this) {_PICTURE}\b"
)
_POINTING_PHRASES = (
    "图中",
    "如图",
    "图片中",
    "照片中",
    "画面中",
    "圖中",
    "画像に",
    "写真に",
    "写真の",
)

#: Each UTF-8 byte read as a character of its own, replacement characters, control characters.
_BROKEN_SIGNS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffdÃÂâï]")
_BROKEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]"
    r"|Ã[\x80-\xbf‰€ŠŒŽš]|Â[\xa0-\xbf]|â€|â[\x80-\x9f]|ï¿½|ï»¿"
)

_MARKUP_SIGNS = re.compile(r"[*_`#\[<\\&|{=]")
_MARKUP = re.compile(
    r"\*\*|```|`[^`\n]{1,80}`|(?<!\w)__?(?=\w)|(?:^|\n)[#]{1,6} |(?:^|\n)={2,6} ?\w"
    r"|\[[^\]\n]{1,100}\]\([^)\n]{1,200}\)|\[\[|\[\d{1,3}\]|\[citation needed\]"
    r"|</?[A-Za-z][A-Za-z0-9]{0,15}(?: [^<>\n]{0,100})?/?>|<\|[^|<>\n]{1,40}\|>"
    r"|&(?:nbsp|amp|quot|lt|gt|#\d{1,5});|\\(?:n|t|text|frac|begin|\(|\[)|\{\{|(?:^|\n)\|"
)


def truncated(article: Article) -> str | None:
    """max_tokens cut the text: its last pair may be missing."""
    return "max_tokens" if article.is_truncated else None


def refusal(article: Article) -> str | None:
    """The article begins as a refusal does."""
    opening = article.folded.text[:_REFUSAL_CHARS]
    return clip(article.context) if _REFUSAL.match(opening) else None


def repetition(article: Article) -> str | None:
    """A sentence occurs three times, or a long one goes round in circles."""
    text = article.folded.text
    for end in _SENTENCE_ENDS:
        text = text.replace(end, ".")
    sentences = [sentence.strip() for sentence in text.split(".")]
    if len(set(sentences)) < len(sentences):
        counted = Counter(one for one in sentences if len(one) >= _MIN_SENTENCE_CHARS)
        for sentence, count in counted.most_common(1):
            if count > _MAX_SAME_SENTENCES:
                return f"{count} x {clip(sentence)}"
    for sentence in sentences:
        if len(sentence) > _LONG_SENTENCE_CHARS and _goes_round(sentence):
            return clip(sentence)
    return None


def _goes_round(sentence: str) -> bool:
    words = list(sentence) if UNSPACED.match(sentence) else sentence.split()
    grams = list(zip(*(words[start:] for start in range(_GRAM)), strict=False))
    return len(set(grams)) < (1 - _MAX_REPEATED_SHARE) * len(grams)


def article_length(article: Article) -> str | None:
    """The article has fewer words than --min-words, or more than --max-words."""
    count = num_words(article.context)
    fits = article.quality.min_words <= count <= article.quality.max_words
    return None if fits else f"{count} words"


def image_reference(article: Article) -> str | None:
    """The article points at the image, as in "this photo shows" or "pictured above"."""
    text = article.folded.text
    if any(sign in text for sign in _POINTING_SIGNS):
        match = _POINTING.search(text)
        if match:
            return _excerpt(article, match.start(), match.end())
    if article.context.isascii():
        return None
    return next((phrase for phrase in _POINTING_PHRASES if phrase in text), None)


def ir(article: Article) -> str | None:
    """The article has one of SK-VQA's words: picture, photo, image, painting."""
    text = article.folded.text
    if not any(word in text for word in _IR_WORDS):
        return None
    match = _IR.search(text)
    return _excerpt(article, match.start(), match.end()) if match else None


def ir_extended(article: Article) -> str | None:
    """The article has another word of images."""
    text = article.folded.text
    return next((sign.strip() for sign in _IR_EXTENDED_SIGNS if sign in text), None)


def mojibake(text: str) -> str | None:
    """A text holds what a wrong decoding leaves, or control characters."""
    match = _BROKEN.search(text) if _BROKEN_SIGNS.search(text) else None
    return clip(ascii(text[max(0, match.start() - 10) : match.end() + 10])) if match else None


def markup(text: str) -> str | None:
    """A text holds Markdown, HTML, LaTeX or a chat template's tokens."""
    match = _MARKUP.search(text) if _MARKUP_SIGNS.search(text) else None
    return clip(match[0].strip()) if match else None


def clip(text: str) -> str:
    """Return the beginning of a text, short enough for evidence."""
    return text if len(text) <= MAX_EVIDENCE_CHARS else text[: MAX_EVIDENCE_CHARS - 1] + "…"


def _excerpt(article: Article, start: int, end: int) -> str:
    """Return a place of the folded article as it is written, with what stands around it."""
    begin, stop = article.folded.span(start, end)
    return " ".join(article.context[max(0, begin - 20) : stop + 20].split())
