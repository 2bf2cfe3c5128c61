"""The signs around words: what makes an item, a heading or a label of a line."""

import re
from collections.abc import Iterable

from refiner.parser import labels

_NO_SPACES = "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"


def _any(words: Iterable[str]) -> str:
    """Return an alternation with the longest word first, so that 问题 is not read as 问."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_LABEL_WORDS = labels.QUESTION | labels.ANSWER
_ANY_LABEL_WORD = _any(word.upper() for word in _LABEL_WORDS)
_LONG_LABEL_WORD = "(?i:" + _any(word for word in _LABEL_WORDS if len(word) > 1) + ")"
_QUALIFIER = "(?i:(?:" + _any(labels.QUALIFIERS) + ") (?=" + _any(labels.ANSWER) + r")\b)"
_REMARK = rf"(?<=[(\[])(?!{_LONG_LABEL_WORD}\b)[^\W\d_]{{2,20}}[)\]]:?[*_]{{0,3}} [*_]{{0,3}}"
_PAIR_NUMBER = (
    rf"(?i:(?:{_any(labels.PAIR)})(?: pair)?) #?\d{{1,3}}[:.)]?[*_]{{0,3}} [*_\-–]{{0,3}} ?"
    rf"(?={_LONG_LABEL_WORD}\b|Q\b)"
)
_NUMERAL = f"[{labels.NUMERALS}]{{1,3}}、"
_COLON = f"[{labels.COLONS}]"
_DASH = f"[{labels.DASHES}]"
_NUMBER_END = f"[{labels.NUMBER_ENDS}]"
#: "Question - Answer Pairs" is a heading.
_LABEL_DASH = rf"(?:{_DASH}|=|→) (?!{_LONG_LABEL_WORD}\b)"
_QUESTION_MARK = f"[{labels.QUESTION_MARKS}]"
_EMPHASIS = "[*_`]{0,3}"

DIGITS = re.compile(r"\d+")
WORD = re.compile(r"[^\W\d_]+")
#: A word of a script without spaces, as the words that it is joined of.
PART = re.compile(
    _any(
        word
        for word in (
            *(labels.QUESTION | labels.ANSWER | labels.PAIRS | labels.PAIRS_FILLERS),
            *(labels.ARTICLE | labels.ARTICLE_FILLERS | labels.CONTEXT | labels.TITLE),
            *labels.JOINTS,
        )
        if re.match(_NO_SPACES, word)
    )
    + "|.+",
    re.DOTALL,
)
#: Whatever stands before a line's first word: bullets, numbers, hashes, stars, brackets.
HEAD = re.compile(rf"(?:{_NUMERAL})?[\W\d_]*+(?P<word>[^\W\d_]+)?")
#: As above, and what may stand before a label: "a) Question", "(Easy) Question", "Pair 1:
#: Question", "Correct answer".
QUALIFIED_HEAD = re.compile(
    rf"[\W\d_]*+(?:[a-zA-Z]\) |{_REMARK})?(?:{_PAIR_NUMBER}|{_QUALIFIER})?(?P<word>[^\W\d_]+)"
)
COLON = re.compile(_COLON)
ITEM = re.compile(
    rf"(?:[{labels.BULLETS}{labels.PICTURES}]|[-=]>) (?:\[[ xX]\] )?(?=\S)|(?P<letter>\(?[a-zA-Z]\) (?=\S))"
    rf"|(?P<number>[*_]{{0,2}}(?:[(（]?\d{{1,3}}{_NUMBER_END}|{_NUMERAL})[*_]{{0,2}})(?: (?=\S)|(?=[^\s\d.)]))"
)
HASHED = re.compile(r"(?:# |#{2,6}(?!#)) ?|={2,6} ")
#: A number that heads what stands on the lines below.
NUMBER_ALONE = re.compile(rf"[*_#]{{0,4}} ?\(?\d{{1,3}}{_NUMBER_END}[*_]{{0,2}}\Z")
#: Between a label's word and what it labels: number, remark, colon, emphasis around either.
SEPARATOR = re.compile(
    rf"(?:\([se]s?\)| [Kk]ey\b| KEY\b)?[*_`\"]{{0,3}} ?(?:N[or]?[.°º] ?)?"
    rf"(?P<number>(?!(?<=[*_] )\d+(?::\d|\Z))\.?[(#]{{0,2}}\d{{1,3}}\)?(?:(?:/| of )\d{{1,3}})?)?"
    rf"{_EMPHASIS} ?(?:[(\[][^()\[\]]{{1,60}}[)\]]{_EMPHASIS} ?(?={_COLON}))?"
    rf"(?:{_COLON}|[】\]]{_COLON}?|(?(number){_NUMBER_END}|(?!))|{_LABEL_DASH}|(?<=[*_]) |(?<=\.\d) |\Z"
    r"|(?:(?<=\b[Aa]ns)|(?<=\bANS)|(?<=\b[Qq]ues))\. )"
    rf"{_EMPHASIS} ?"
)
#: Found in half the time that `in` takes in a whole text.
DOTTED_LETTER = re.compile(r"Q\.")
#: "Q. " and "A. " on lines below one another: alone, either may begin a sentence.
DOTTED_LABELS = re.compile(
    rf"^([^\w\n]*)Q\.([*_]{{0,3}} (?:[^\n]*|[^\n]*{_QUESTION_MARK}[*_\"”»）)]{{0,4}}\n)\n[^\w\n]*)A\.(?=[*_]{{0,3}} )",
    re.MULTILINE,
)
#: As SEPARATOR, without any sign, which only a question's own question mark makes believable.
BARE_SEPARATOR = re.compile(r" (?:\d{1,3} )?(?=[A-Z])|\.? ?\d{1,3}\.? (?=\S)")
_SIGN = rf"(?:{_DASH}+|[-=]>|[→➔➜➤⇒])"
#: A question and the answer behind it, neither with a label.
ASKED_AND_ANSWERED = re.compile(
    rf"(?P<question>.*(?:{_QUESTION_MARK}[*_\"”»）)]*(?=[ :])|[？][*_]*|\.[*_]*(?= {_SIGN} )"
    rf"|\.(?= [*_]{{1,3}}[^*_]+[*_]{{1,3}}\Z))) ?"
    rf"(?:(?:{_SIGN}|[:：=|•/]) ?)?"
    r"(?:\((?P<bracketed>[^()]+)\)|(?P<answer>[^\s*_].*|[*_]+[^\s*_].*))\Z",
    re.DOTALL,
)
#: Without one of these, a row holds no label inside.
LABEL_SIGN = re.compile(rf"{_COLON}|\d{_NUMBER_END}")

_AGREEMENT = (
    rf"(?:(?:{_any(labels.AGREEMENTS)}) ?[,.!:;，。！：、]"
    rf"|(?:let me|I will|I['’]ll) (?:now |first )?(?:{_any(labels.TO_WRITE)})\b)"
)
#: How a chat model's words to its user begin: it agrees, or says what it is about to do.
AGREEMENT = re.compile(rf"[*_¡]*{_AGREEMENT}", re.IGNORECASE)
CHATTER_WORDS = frozenset(
    WORD.findall(phrase)[0] for phrase in (*labels.AGREEMENTS, *labels.ANNOUNCEMENTS)
)
CHATTER = re.compile(rf"[*_¡]*(?:{_AGREEMENT}|{_any(labels.ANNOUNCEMENTS)})", re.IGNORECASE)

#: Shorter ones are too often a part of other words.
_MIN_MENTION_CHARS = 3
_QUESTIONS = _any(
    word for word in labels.QUESTION | labels.PAIRS if len(word) >= _MIN_MENTION_CHARS
)
_ANSWERS = _any(word for word in labels.ANSWER | labels.ANSWERS if len(word) >= _MIN_MENTION_CHARS)
_JOINED = r"问题|问答|問答|質問|问|질문"
#: What an announcement is about. Words of scripts with spaces must be whole words.
PAIRS_MENTION = re.compile(rf"\b(?:{_QUESTIONS}|q ?& ?a)\b|{_JOINED}", re.IGNORECASE)
ANSWER_MENTION = re.compile(rf"\b(?:{_ANSWERS}|q ?& ?a|qa)\b|答|답", re.IGNORECASE)
WIKIPEDIA_MENTION = re.compile(
    r"\bwikip[eé]dia|维基|維基|ウィキペディア|위키백과|википеди", re.IGNORECASE
)
ARTICLE_MENTION = re.compile(
    rf"\b(?:{_any(labels.ARTICLE)})\b|文章|条目|記事|문서|기사", re.IGNORECASE
)


_PAUSE = rf"(?:(?<=[{labels.PAUSES}])|(?<={_QUESTION_MARK}\*)|(?<={_QUESTION_MARK}\*\*))"


def _inline_label(name: str, before: str, words: str) -> str:
    mark = rf"(?:[-=]>|{_DASH}|[*_`(\[|•/→➔➜]){{0,3}} ?(?:\(?\d{{1,3}}{_NUMBER_END} ?)?{_EMPHASIS}"
    colon = rf"(?:{_EMPHASIS} ?{_COLON}| ?\d{{1,3}}{_EMPHASIS}(?:{_COLON}|{_NUMBER_END}))"
    return rf"{before}(?=(?P<{name}>{mark}(?:{words}){colon}))"


#: The space before a label inside a line that follows a pause, and the label as its group:
#: "vitamin A: 5 mg" holds none.
_AFTER_PAUSE = _inline_label("any", f"{_PAUSE} ?", f"{_ANY_LABEL_WORD}|{_LONG_LABEL_WORD}")
INLINE_LABEL_AFTER_PAUSE = re.compile(_AFTER_PAUSE)
#: The same in a line that begins with a label: a whole word needs no pause there.
INLINE_LABEL = re.compile(_inline_label("long", r"(?<=\S) ", _LONG_LABEL_WORD) + "|" + _AFTER_PAUSE)

#: A model that will not, or cannot, write. Before "I" only what an apology is made of.
REFUSAL = re.compile(
    r"\b(?:I(?:['’]m| am) (?:really |very |so |truly )?(?:sorry|unable|not able)"
    r"|(?:I(?:['’]m| am) )?(?:sorry|afraid),? (?:but )?(?:that )?I (?:can|am|['’]m|cannot|won|do)"
    r"|I (?:can ?not|can['’]t|won['’]t|will not|could not|couldn['’]t|must decline"
    r"|(?:do not|don['’]t) have the ability|apologi[sz]e)\b"
    r"|(?:my|sincere) apologies|as an AI\b|unable to (?:assist|help|comply|fulfill)"
    r"|lo siento|no puedo (?:ayudar|cumplir|proporcionar|crear|identificar|escribir)"
    r"|(?:je suis )?désolé|je ne peux pas (?:vous|t['’]|répondre|aider|identifier|écrire)"
    r"|(?:es )?tut mir leid|leider kann ich|ich kann (?:dabei|das|Ihnen|diese) .{0,40}nicht"
    r"|desculpe|sinto muito|(?:não posso|não consigo) (?:ajudar|identificar|fornecer|escrever)"
    r"|mi dispiace|non posso (?:aiutar|identificar|fornire|scrivere)|het spijt me|к сожалению, я"
    r"|извините, (?:но )?я|я не могу (?:помочь|выполнить))"
    r"|对不起|抱歉|我(?:无法|不能)|作为(?:一个|一名)?(?:AI|人工智能)|無法(?:協助|提供)"
    r"|申し訳(?:ありません|ございません)|ごめんなさい|お(?:応え|答え|手伝い)(?:でき|することはでき)"
    r"|죄송(?:합니다|하지만)|도와드릴 수 없",
    re.IGNORECASE,
)
