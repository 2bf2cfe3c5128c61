"""
The words and signs models label and head things with; words are casefolded.

Supporting a language, or one more habit of a model, means adding to these. Words of a script that
writes no spaces are listed without their joints (`JOINTS`): 质问与答案 is read as three words.
"""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


QUESTION = _words(
    "question q ｑ ques",
    "pregunta p pergunta frage f domanda d vraag v вопрос в",
    "pytanie soru pertanyaan fråga spørgsmål spørsmål otázka питання سؤال السؤال",
    "问题 问 問題 問",
    "質問 問い 设问 提问",
    "질문 문 문제",
)

ANSWER = _words(
    "answer answers ans a ａ",
    "respuesta r réponse reponse antwort resposta risposta antwoord ответ о",
    "odpowiedź cevap yanıt jawaban svar odpověď відповідь جواب الجواب إجابة الإجابة",
    "答案 答 回答 答复 解答 答え",
    "답변 답 대답 정답",
)

#: With a number behind it, may stand before a question's label: "Pair 1: Question".
PAIR = _words("pair qa par paire paar coppia example")

#: May stand between what numbers an answer and its label.
QUALIFIERS = _words(
    "correct possible expected short final sample model suggested acceptable the",
)

#: Each alone makes a heading of the pairs; so do a question word and an answer word together.
PAIRS = _words(
    "questions qa qas pair pairs",
    "preguntas perguntas fragen pares par parejas paires paire paare paren coppie domande vragen вопросы",
    "pytania pary sorular çiftleri pasangan frågor أسئلة",
    "问答 問答 质问 質疑応答",
)

ANSWERS = _words(
    "respuestas réponses reponses antworten respostas risposte antwoorden ответы odpowiedzi cevaplar أجوبة"
)

#: May stand in a heading of the pairs beside the words above.
PAIRS_FILLERS = ANSWERS | _words(
    "and with their the these following section part sample example examples set list",
    "knowledge intensive comprehension reading quiz review study trivia factual visual vqa",
    "based on about for from of to article passage image text wikipedia generated",
    "y et und e en и de di con mit avec com sobre sur zum zur zu",
    "对 對 部分 ペア リスト 例 一覧 및",
)

#: Each makes a heading of the article.
ARTICLE = _words(
    "article wikipedia",
    "artículo articulo wikipédia artikel artigo articolo статья википедии",
    "维基百科 维基 文章 条目 維基百科 百科",
    "ウィキペディア 記事",
    "위키백과 문서 기사",
)

#: Label the article where nothing stands before it; further down, they head a section of it.
CONTEXT = _words("context passage contexto contexte kontext contesto 背景 上下文")

#: May stand in a heading of the article beside the words above.
ARTICLE_FILLERS = _words(
    "the a style styled like entry section part text en de la da di sur der über",
    "风格 式 風 スタイル",
)

#: Label of a title. Its line is no part of the article.
TITLE = _words(
    "title subject topic título titulo titre titel titolo название 标题 題目 タイトル 제목"
)

#: Label of what models add to an answer.
ASIDE = _words(
    "explanation reasoning rationale reason justification evidence note notes source reference",
    "difficulty level category type hint comment",
    "explicación explication erklärung explicação nota remarque hinweis",
    "dificultad difficulté schwierigkeit dificuldade begründung justification raisonnement",
    "解释 解析 理由 依据 难度 说明 説明 注 注意 解説 備考 難易度",
)

#: How a chat model agrees before it writes. With a pause behind it, the line is chatter.
AGREEMENTS = (
    *("sure", "sure thing", "certainly", "of course", "absolutely", "okay", "ok", "great", "yes"),
    *("claro", "por supuesto", "con gusto", "bien sûr", "d'accord", "d’accord", "certainement"),
    *("natürlich", "gerne", "klar", "selbstverständlich", "com certeza", "certo", "certamente"),
    *(
        "конечно",
        "natuurlijk",
        "물론입니다",
        "물론이죠",
        "네",
        "当然",
        "当然可以",
        "好的",
        "好",
        "没问题",
    ),
    *("はい", "もちろん", "もちろんです", "承知しました", "かしこまりました", "了解しました"),
)

#: What a chat model says that it will do, behind "I will".
TO_WRITE = (
    *("analyse", "analyze", "begin", "create", "craft", "describe", "draft", "generate"),
    *("provide", "start", "write"),
)

#: How a chat model begins to announce what it is about to write.
ANNOUNCEMENTS = (
    *("here is", "here are", "here's", "here’s", "below is", "below are", "the following", "now"),
    *("based on", "these are", "this is", "let's", "next", "as requested"),
    *("aquí", "a continuación", "estas son", "voici", "ci-dessous", "hier ", "im folgenden", "nun"),
    *("aqui", "a seguir", "abaixo", "ecco", "di seguito", "вот", "ниже", "hieronder", "다음은"),
    *("以下", "下面", "这是", "接下来", "基于", "根据", "こちら", "次に"),
)

#: How a task begins that stands in place of a question.
ORDERS = _words(
    "name state identify describe list give mention specify explain complete tell find",
    "nombra nombre menciona indica identifica nomme nommez cite citez indique indiquez",
    "nenne nennen beschreibe gib identifiziere cite nomeie mencione indique",
)

#: Numbers written as a part of the word before them, as in 问题一.
NUMERALS = "一二三四五六七八九十"
#: Stand between words that are written without spaces.
JOINTS = ("和", "与", "與", "及", "以及", "と", "の", "과", "와", "的", "・")

COLONS = ":：︰∶"
#: What may stand between the number of an item or label and its text.
NUMBER_ENDS = ".)．）、\u20e3"
#: The arrows, stars, boxes and pictures among them are all those of these ranges of Unicode.
PICTURES = "\u2190-\u21ff\u2460-\u2bff\U0001f300-\U0001faff"
BULLETS = "-–—•◦‣▪●·*+○■□▶►▸✓✔✅☑→➔➜➤⇒"
DASHES = "-–—"
QUESTION_MARKS = "?？؟"
SENTENCE_ENDS = ".!?…。！？"
#: No title ends in one of these.
NO_TITLE_ENDS = tuple(SENTENCE_ENDS + COLONS + ",;")
#: After these, a short label may follow on the same line.
PAUSES = SENTENCE_ENDS + ")）;；|/"
