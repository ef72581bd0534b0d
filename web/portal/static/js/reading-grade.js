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

const NO_FORMULA = "There is no reading grade for this language. Use short words and sentences.";

// A letter that began as the text of another language has no grade: the formula is for English.
function isEnglish(form) {
    const template = form?.elements.letter_template?.value ?? "";
    return template === "" || template.startsWith("en/");
}

// The meter below a text field; the words say what the bar shows.
export function showGrade(box) {
    const text = document.getElementById(box.dataset.gradeOf);
    const meter = box.querySelector("meter");
    const words = box.querySelector("[role=status]");
    const show = () => {
        box.hidden = text.value.trim() === "";
        meter.hidden = !isEnglish(text.form);
        if (meter.hidden) {
            words.textContent = NO_FORMULA;
            return;
        }
        const grade = Math.max(0, readingGrade(text.value));
        meter.value = grade;
        const advice = grade > LIMIT ? "Try shorter words and sentences." : "Easy to read.";
        words.textContent = `Reading grade ${grade.toFixed(1)}, the aim is ${LIMIT} or less. ${advice}`;
    };
    text.addEventListener("input", show);
    show();
    return show;
}
