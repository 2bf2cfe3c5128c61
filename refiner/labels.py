"""
The words and signs models label and head things with; words are casefolded.

Supporting a language, or one more habit of a model, means adding to these.
"""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


QUESTION = _words(
    "question q ｑ",
    "pregunta pergunta frage",
    "问题 问 問題 問",
    "質問 問い",
)

ANSWER = _words(
    "answer answers ans a ａ",
    "respuesta réponse reponse antwort resposta",
    "答案 答 回答 答复",
    "解答 答え",
)

#: Each alone makes a heading of the pairs; so do a question word and an answer word together.
PAIRS = _words(
    "questions qa qas pair pairs",
    "preguntas perguntas fragen pares par paires paire paare",
    "问答对 问答 问题与答案 问题和答案 问题及答案 问题答案对 问答部分 qa对 問答 問答對",
    "質問と回答 質問と答え 質問回答ペア 質問と回答のペア 質疑応答 qaペア",
)

#: May stand in a heading of the pairs beside the words above.
PAIRS_FILLERS = _words(
    "and with their the these following section part sample example examples",
    "respuestas réponses reponses antworten respostas y et und e de",
)

#: Each makes a heading of the article.
ARTICLE = _words(
    "article wikipedia",
    "artículo articulo wikipédia artikel artigo",
    "维基百科文章 维基百科 文章 維基百科文章",
    "ウィキペディア記事 記事",
)

#: Label the article where nothing stands before it; further down, they head a section of it.
CONTEXT = _words("context passage contexto contexte kontext 背景 上下文")

#: May stand in a heading of the article beside the words above.
ARTICLE_FILLERS = _words("the a style entry section part text de la da sur der")

#: Label of a title. Its line is no part of the article.
TITLE = _words("title subject topic título titulo titre titel 标题 題目 タイトル")

#: Label of what models add to an answer.
ASIDE = _words("explanation reasoning rationale reason justification evidence note 解释 理由 说明")

#: How a chat model begins to announce what it is about to write.
CHATTER = (
    *("sure", "certainly", "of course", "absolutely", "okay"),
    *("here is", "here are", "here's", "here’s", "below is", "below are"),
)

#: Numbers written as a part of the word before them, as in 问题一.
NUMERALS = "一二三四五六七八九十"

COLONS = ":："
#: What may stand between the number of an item or label and its text.
NUMBER_ENDS = ".)．）、"
BULLETS = "-–—•◦‣▪●·*+"
DASHES = "-–—"
QUESTION_MARKS = "?？"
SENTENCE_ENDS = ".!?…。！？"
#: After these, a short label may follow on the same line.
PAUSES = SENTENCE_ENDS + ")）;；|"
