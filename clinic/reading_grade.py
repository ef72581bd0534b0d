"""How many years of school a text asks of its reader: the Flesch-Kincaid grade (Kincaid 1975).

Syllables are counted by rule (groups of vowels, silent endings), which needs no word list. The
grade says how long words and sentences are; it does not measure understanding.
"""

import re

LIMIT = 6.0
_WORD = re.compile("[A-Za-z]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][A-Za-z]+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)|\n+")
_VOWELS = re.compile(r"[aeiouy]+")
_SILENT_END = re.compile(r"(?:[^aeiouyl]e|[^aeiouytd]ed|[^aeiouyscgzxh]es)$")


def syllables(word: str) -> int:
    plain = re.sub(r"[^a-z]", "", word.lower())
    groups = len(_VOWELS.findall(plain))
    if _SILENT_END.search(plain):
        groups -= 1
    return max(groups, 1)


def reading_grade(text: str) -> float:
    """Return the grade of an English text; 0 for a text without words."""
    words = _WORD.findall(text)
    if not words:
        return 0.0
    sentences = [part for part in _SENTENCE_END.split(text) if _WORD.search(part)]
    per_sentence = len(words) / len(sentences)
    per_word = sum(syllables(word) for word in words) / len(words)
    return 0.39 * per_sentence + 11.8 * per_word - 15.59
