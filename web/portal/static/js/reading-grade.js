// The Flesch-Kincaid grade of an English text (Kincaid 1975), as clinic/reading_grade.py counts it.

export const LIMIT = 6;
const WORD = /[A-Za-z]+(?:['\u2019][A-Za-z]+)*/g;
const SENTENCE_END = /[.!?]+(?:\s|$)|\n+/;
const SILENT_END = /(?:[^aeiouyl]e|[^aeiouytd]ed|[^aeiouyscgzxh]es)$/;

export function syllables(word) {
    const plain = word.toLowerCase().replace(/[^a-z]/g, "");
    const groups = (plain.match(/[aeiouy]+/g) ?? []).length;
    return Math.max(groups - (SILENT_END.test(plain) ? 1 : 0), 1);
}

export function readingGrade(text) {
    const words = text.match(WORD) ?? [];
    if (!words.length) {
        return 0;
    }
    const sentences = text.split(SENTENCE_END).filter((part) => /[A-Za-z]/.test(part));
    const perSentence = words.length / sentences.length;
    const perWord = words.reduce((sum, word) => sum + syllables(word), 0) / words.length;
    return 0.39 * perSentence + 11.8 * perWord - 15.59;
}

// The meter below a text field; the words say what the bar shows.
export function showGrade(box) {
    const text = document.getElementById(box.dataset.gradeOf);
    const meter = box.querySelector("meter");
    const words = box.querySelector("[role=status]");
    const show = () => {
        const grade = Math.max(0, readingGrade(text.value));
        box.hidden = text.value.trim() === "";
        meter.value = grade;
        const advice = grade > LIMIT ? "Try shorter words and sentences." : "Easy to read.";
        words.textContent = `Reading grade ${grade.toFixed(1)}, the aim is ${LIMIT} or less. ${advice}`;
    };
    text.addEventListener("input", show);
    show();
    return show;
}
