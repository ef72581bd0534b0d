// An earlier visit's photo beside today's: both move together, aligned by two points if wanted.

import { byTwoPoints, centred, inverse, matchingView } from "./alignment.js";
import { PicturePane } from "./picture-pane.js";
import { sealedPictures } from "./sealed-pictures.js";
import { explain, WORDS as OPENING } from "./viewer-status.js";

const CLOSEST_SHARE = 0.03; // of the photo's width: nearer points would align nothing

const WORDS = {
    none: "No earlier visit is shown.",
    otherView: (name) => `That visit has no photo of the same kind. You see: ${name}.`,
    beside: "Both photos move together. Align them by two points that you find in both.",
    next: (name, number) => `Mark point ${number} in: ${name}.`,
    marked: (name) => `Both points are marked in this photo. Go on in: ${name}.`,
    tooNear: "The two points are too near to each other. Mark them again, further apart.",
    aligned: "The photos are aligned by your two points.",
};

export class Comparison {
    constructor(panel, desk) {
        this.desk = desk;
        this.visit = panel.querySelector("[data-visit-choice]");
        this.photo = panel.querySelector("[data-compare-photo]");
        this.together = panel.querySelector("[data-together]");
        this.pointsButton = panel.querySelector('[data-align="points"]');
        this.middleButton = panel.querySelector('[data-align="middle"]');
        this.status = panel.querySelector("[data-compare-status]");
        this.opened = new Map();
        this.alignments = new Map();
        this.pair = null;
        this.tries = 0;
        this.visit.addEventListener("change", () => this.show());
        this.photo.addEventListener("change", () => this.show());
        this.together.addEventListener("change", () => this.follow(this.leader()));
        this.pointsButton.addEventListener("click", () => this.alignByPoints());
        this.middleButton.addEventListener("click", () => this.desk.active.markMiddle());
    }

    async show() {
        this.end();
        const template = this.desk.visitTemplate(this.visit.value);
        if (template === null) {
            return;
        }
        const today = this.desk.paneOf(this.photo.value);
        const figures = [...template.content.querySelectorAll("figure")];
        const match = figures.find((one) => one.dataset.view === today.figure.dataset.view);
        const figure = (match ?? figures[0]).cloneNode(true);
        const earlier = new PicturePane(figure);
        today.figure.after(figure);
        this.earlier = earlier;
        this.desk.enlarge([today.figure, figure]);
        await this.open(today, earlier, template, match === undefined);
    }

    async open(today, earlier, template, isOtherView) {
        this.tries += 1;
        const thisTry = this.tries;
        earlier.say(OPENING.asking);
        try {
            const bitmap = await this.bitmapOf(template, earlier.figure.dataset.object);
            if (thisTry !== this.tries) {
                bitmap.close();
                return;
            }
            await earlier.show(bitmap);
        } catch (error) {
            this.opened.delete(template.dataset.visit);
            if (thisTry === this.tries) {
                earlier.say("");
                explain(this.status, error, () => this.show());
            }
            return;
        }
        this.desk.watch(earlier);
        this.pair = [today, earlier];
        for (const pane of this.pair) {
            pane.addEventListener("moved", this.onMoved);
        }
        this.allow(true);
        this.desk.activate(today);
        this.follow(today);
        this.say(isOtherView ? WORDS.otherView(earlier.name) : WORDS.beside);
    }

    async bitmapOf({ dataset }, id) {
        const { visit, grantUrl } = dataset;
        if (!this.opened.has(visit)) {
            const { csrf } = this.desk.section.dataset;
            this.opened.set(visit, sealedPictures({ grantUrl, csrf, submission: visit }));
        }
        return (await this.opened.get(visit))(id);
    }

    /** Takes the earlier visit away, if one is shown. */
    end() {
        this.tries += 1;
        if (this.earlier === undefined) {
            return;
        }
        this.desk.stopMarking();
        for (const pane of this.pair ?? []) {
            pane.removeEventListener("moved", this.onMoved);
        }
        this.desk.unwatch(this.earlier);
        this.earlier.close();
        this.earlier.figure.remove();
        this.earlier = undefined;
        this.pair = null;
        this.desk.enlarge([]);
        this.allow(false);
        this.say(WORDS.none);
    }

    /** The page is left: no key and no photo of an earlier visit stays. */
    close() {
        this.end();
        this.opened.clear();
        this.alignments.clear();
        this.visit.value = "";
    }

    // Moving together

    onMoved = ({ target }) => {
        if (this.together.checked && !this.points && target === this.leader()) {
            this.follow(target);
        }
    };

    leader() {
        return this.pair?.includes(this.desk.active) ? this.desk.active : this.pair?.[0];
    }

    follow(leader) {
        if (!this.pair || !this.together.checked) {
            return;
        }
        const [today, earlier] = this.pair;
        const alignment = this.alignments.get(this.key()) ?? centred(today.size, earlier.size);
        if (leader === today) {
            earlier.view = matchingView(alignment, today.view);
        } else {
            today.view = matchingView(inverse(alignment), earlier.view);
        }
    }

    key() {
        return this.pair.map((pane) => pane.figure.dataset.object).join(" ");
    }

    // Aligning

    alignByPoints() {
        if (this.points) {
            this.desk.stopMarking();
            return;
        }
        this.desk.startMarking({
            mark: (pane, point) => this.mark(pane, point),
            stop: () => this.stopAligning(),
        });
        this.points = new Map(this.pair.map((pane) => [pane, []]));
        this.press(true);
        this.askForPoint(this.pair[0]);
    }

    mark(pane, point) {
        const points = this.points.get(pane);
        if (points === undefined) {
            return;
        }
        const other = this.pair.find((one) => one !== pane);
        if (points.length === 2) {
            this.say(WORDS.marked(other.name));
            return;
        }
        if (points.length === 1 && isNear(points[0], point, pane.size)) {
            this.say(WORDS.tooNear);
            return;
        }
        points.push(point);
        pane.marks.push({ kind: "landmark", points: [point], words: String(points.length) });
        pane.drawOver();
        if (this.pair.every((one) => this.points.get(one).length === 2)) {
            this.align();
        } else {
            this.askForPoint(points.length === 2 ? other : pane);
        }
    }

    askForPoint(pane) {
        this.say(WORDS.next(pane.name, this.points.get(pane).length + 1));
    }

    align() {
        const [today, earlier] = this.pair;
        const found = byTwoPoints(this.points.get(today), this.points.get(earlier));
        this.alignments.set(this.key(), found);
        this.desk.stopMarking();
        this.together.checked = true;
        this.follow(today);
        this.say(WORDS.aligned);
    }

    stopAligning() {
        this.points = null;
        this.press(false);
        for (const pane of this.pair ?? []) {
            pane.marks = pane.marks.filter(({ kind }) => kind !== "landmark");
            pane.drawOver();
        }
        this.say(WORDS.beside);
    }

    press(pressed) {
        this.pointsButton.setAttribute("aria-pressed", String(pressed));
        this.middleButton.disabled = !pressed;
    }

    allow(possible) {
        this.together.disabled = !possible;
        this.pointsButton.disabled = !possible;
    }

    say(words) {
        this.status.textContent = words;
    }
}

function isNear(from, to, { width }) {
    return Math.hypot(to.x - from.x, to.y - from.y) < CLOSEST_SHARE * width;
}
