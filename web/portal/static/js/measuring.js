// Measuring on a photo: two marks on a length that is known make its scale, two more a distance.
// Scale and marks are kept for this page alone.

const LONGEST_MM = 1000;
const CLOSEST_PIXELS = 10; // marks nearer to each other, in pixels of the photo, are no length

const WORDS = {
    badLength: "Write the known length in millimetres first, for example 10.",
    noScale: (name) => `${name} has no scale yet: mark a known length on it first.`,
    firstEnd: "Mark one end: click it, or move it to the cross and press Enter.",
    otherEnd: "Now mark the other end.",
    tooNear: "The two marks are too near to each other. Mark both ends again.",
    stopped: "Nothing is marked now.",
    nothing: (name) => `${name} has no marks.`,
};

export class Measuring {
    constructor(panel, desk) {
        this.desk = desk;
        this.length = panel.querySelector("[data-scale-length]");
        this.status = panel.querySelector("[data-measure-status]");
        this.buttons = new Map(
            [...panel.querySelectorAll("[data-measure]")].map((one) => [one.dataset.measure, one]),
        );
        this.on("scale", () => this.start("scale"));
        this.on("distance", () => this.start("distance"));
        this.on("middle", () => this.desk.active.markMiddle());
        this.on("undo", () => this.undo());
        this.on("clear", () => this.clear());
    }

    on(name, act) {
        this.buttons.get(name).addEventListener("click", act);
    }

    start(kind) {
        const pressed = this.buttons.get(kind).getAttribute("aria-pressed") === "true";
        this.desk.stopMarking();
        if (pressed) {
            return;
        }
        const { active } = this.desk;
        if (kind === "scale" && this.knownLength() === null) {
            this.say(WORDS.badLength);
            this.length.focus();
        } else if (kind === "distance" && active.mmPerPixel === null) {
            this.say(WORDS.noScale(active.name));
        } else {
            this.say(WORDS.firstEnd);
            this.desk.startMarking({
                mark: (pane, point) => this.mark(kind, pane, point),
                stop: () => this.stop(kind),
            });
            this.press(kind, true);
        }
    }

    mark(kind, pane, point) {
        const begun = pane.marks.find(isHalf);
        if (kind === "distance" && pane.mmPerPixel === null) {
            this.say(WORDS.noScale(pane.name));
        } else if (begun === undefined) {
            pane.marks.push({ kind, points: [point], words: "" });
            this.say(WORDS.otherEnd);
        } else if (between(begun.points[0], point) < CLOSEST_PIXELS) {
            pane.marks = pane.marks.filter((one) => one !== begun);
            this.say(WORDS.tooNear);
        } else {
            this.finish(kind, pane, begun, point);
        }
        pane.drawOver();
    }

    finish(kind, pane, begun, point) {
        const known = this.knownLength();
        if (kind === "scale" && known === null) {
            this.say(WORDS.badLength);
            return;
        }
        begun.points.push(point);
        if (kind === "scale") {
            begun.mm = known;
            pane.marks = pane.marks.filter((one) => one.kind !== "scale" || one === begun);
            this.desk.stopMarking();
        }
        this.relabel(pane);
    }

    stop(kind) {
        this.press(kind, false);
        for (const pane of this.desk.openPanes()) {
            pane.marks = pane.marks.filter((one) => !isHalf(one));
            pane.drawOver();
        }
        this.say(WORDS.stopped);
    }

    undo() {
        const { active } = this.desk;
        const last = active.marks.findLastIndex((one) => one.kind !== "landmark");
        if (last >= 0) {
            active.marks.splice(last, 1);
        }
        this.relabel(active);
    }

    clear() {
        this.desk.stopMarking();
        const { active } = this.desk;
        active.marks = [];
        this.relabel(active);
    }

    /** The scale follows from its mark, and every length from the scale. */
    relabel(pane) {
        const scale = pane.marks.find((one) => one.kind === "scale" && !isHalf(one));
        pane.mmPerPixel = scale ? scale.mm / between(...scale.points) : null;
        for (const one of pane.marks.filter((each) => !isHalf(each))) {
            one.words = wordsFor(one, pane.mmPerPixel) ?? one.words;
        }
        pane.drawOver();
        this.tellLengths(pane);
    }

    tellLengths(pane) {
        const found = pane.marks.filter((one) => one.kind === "distance" && !isHalf(one));
        const scale = pane.marks.find((one) => one.kind === "scale");
        if (!scale) {
            this.say(WORDS.nothing(pane.name));
        } else {
            const lengths = found.map((one) => one.words).join(", ");
            this.say(`${pane.name}: scale ${scale.words}${lengths && `; measured ${lengths}`}.`);
        }
    }

    knownLength() {
        const mm = Number(this.length.value.trim().replace(",", "."));
        return mm > 0 && mm <= LONGEST_MM ? mm : null;
    }

    press(kind, pressed) {
        this.buttons.get(kind).setAttribute("aria-pressed", String(pressed));
        this.buttons.get("middle").disabled = !pressed;
    }

    say(words) {
        this.status.textContent = words;
    }
}

function isHalf({ kind, points }) {
    return kind !== "landmark" && points.length === 1;
}

function wordsFor({ kind, points, mm }, mmPerPixel) {
    if (kind === "scale") {
        return `${mm} mm`;
    }
    if (kind === "distance") {
        return mmPerPixel === null ? "no scale" : `${(between(...points) * mmPerPixel).toFixed(1)} mm`;
    }
    return undefined;
}

function between(from, to) {
    return Math.hypot(to.x - from.x, to.y - from.y);
}
