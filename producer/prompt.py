"""The prompt a row without a `conversation` gets."""

#: The ContextVQA prompt with its eight criteria, as DataFlow-MM sends it (after SK-VQA, arXiv
#: 2406.19593). Word for word: a changed prompt makes another data set.
DEFAULT_PROMPT = """\
Write a Wikipedia article related to this image without directly referring to the image. \
Then write question answer pairs. The question answer pairs should satisfy the following criteria.
1: The question should refer to the image.
2: The question should avoid mentioning the name of the object in the image.
3: The question should be answered by reasoning over the Wikipedia article.
4: The question should sound natural and concise.
5: The answer should be extracted from the Wikipedia article.
6: The answer should not be any objects in the image.
7: The answer should be a single word or phrase and list all correct answers separated by commas.
8: The answer should not contain 'and', 'or', rather you can split them into multiple answers."""
