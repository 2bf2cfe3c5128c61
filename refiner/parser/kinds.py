"""
What a line looks like: its kind, and what it is set off by where it has no label.

Constants of a module rather than members of an enum: looking up a member takes four times as long,
and that would be a quarter of the time that a text takes.
"""

from typing import NewType

Kind = NewType("Kind", str)

BLANK = Kind("blank")
TEXT = Kind("text")
#: Bulleted or numbered.
ITEM = Kind("item")
#: Begins with a question's label.
QUESTION = Kind("question")
#: Begins with an answer's label.
ANSWER = Kind("answer")
#: Begins with the label of something models add to an answer, such as "Explanation:".
ASIDE = Kind("aside")
#: Heading of the pairs, such as "### Question Answer Pairs".
PAIRS = Kind("pairs")
#: Heading of the article, such as "Wikipedia Article:"; the article may begin on its line.
ARTICLE = Kind("article")
#: Begins with a label that is the article's only where nothing stands before it.
CONTEXT = Kind("context")
#: Any other heading.
HEADING = Kind("heading")
#: Neither letters nor digits, a number alone, or a code fence.
RULE = Kind("rule")

Mark = NewType("Mark", str)

UNMARKED = Mark("unmarked")
BULLET = Mark("bullet")
NUMBER = Mark("number")
LETTER = Mark("letter")
HASHES = Mark("hashes")
BOLD = Mark("bold")
