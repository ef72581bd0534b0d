// The desk's viewer: opens a case's photos in this page and gives the reader tools to look at them.
// Every tool works on the photo that is marked as active; none changes a pixel.

import { Comparison } from "./comparison.js";
import { Measuring } from "./measuring.js";
import { PicturePane } from "./picture-pane.js";
import { sealedPictures } from "./sealed-pictures.js";
import { explain, say, WORDS } from "./viewer-status.js";

class DeskViewer {
    constructor(section) {
        this.section = section;
        this.tools = section.querySelector("[data-tools]");
        this.status = section.querySelector("[data-viewer-status]");
        this.frames = section.querySelector("[data-panes]");
        this.panes = [...section.querySelectorAll("figure")].map((one) => new PicturePane(one));
        this.panes.forEach((pane) => this.connectPane(pane));
        this.earlier = [];
        this.tries = 0;
        this.connectTools();
    }

    // Opening and leaving

    async open() {
        this.close();
        const thisTry = this.tries;
        say(this.status, WORDS.asking);
        const { grantUrl, csrf, submission } = this.section.dataset;
        try {
            const picture = await sealedPictures({ grantUrl, csrf, submission });
            const failures = [];
            for (const pane of this.panes) {
                await this.openPane(pane, picture, thisTry).catch((error) => failures.push(error));
                if (thisTry !== this.tries) {
                    return;
                }
            }
            this.tellOpened(failures);
        } catch (error) {
            if (thisTry === this.tries) {
                explain(this.status, error, () => this.open());
            }
        }
    }

    /** The photo, then its heat-maps. What does not open is told in the photo's frame too. */
    async openPane(pane, picture, thisTry) {
        const layers = [...pane.figure.querySelectorAll("[data-layer-choice]")];
        const ids = [pane.figure.dataset.object, ...layers.map(({ value }) => value).filter(Boolean)];
        pane.say(WORDS.asking);
        for (const id of ids) {
            const bitmap = await picture(id).catch((error) => {
                pane.say(error.words ?? WORDS.broken);
                throw error;
            });
            if (thisTry !== this.tries) {
                bitmap.close();
                return;
            }
            if (pane.isOpen) {
                pane.addLayer(id, bitmap);
            } else {
                await pane.show(bitmap);
            }
        }
    }

    tellOpened(failures) {
        const [first] = this.openPanes();
        if (first) {
            this.activate(first);
            this.tools.disabled = false;
        }
        if (failures.length > 0) {
            explain(this.status, failures[0], () => this.open());
        } else {
            say(this.status, first ? WORDS.shown : WORDS.none);
        }
    }

    /** Nothing of any photo stays in the page; what is still being opened is dropped. */
    close() {
        this.tries += 1;
        this.stopMarking();
        this.comparison?.close();
        this.panes.forEach((pane) => pane.close());
        this.enlarge([]);
        this.tools.disabled = true;
        this.active = undefined;
    }

    // Photos

    openPanes() {
        return [...this.panes, ...this.earlier].filter((pane) => pane.isOpen);
    }

    paneOf(object) {
        return this.panes.find((pane) => pane.figure.dataset.object === object);
    }

    visitTemplate(visit) {
        return this.section.querySelector(`template[data-visit="${CSS.escape(visit)}"]`);
    }

    /** Another photo stands beside the case's own now. */
    watch(pane) {
        this.earlier.push(pane);
        this.connectPane(pane);
        pane.letPageScroll();
    }

    unwatch(pane) {
        this.earlier = this.earlier.filter((one) => one !== pane);
        if (this.active === pane) {
            this.activate(this.openPanes()[0]);
        }
    }

    connectPane(pane) {
        pane.addEventListener("active", () => this.activate(pane));
        pane.addEventListener("mark", ({ detail }) => this.marking?.mark(pane, detail));
        pane.addEventListener("wish", ({ detail }) => this.do(detail));
    }

    activate(pane) {
        this.active = pane;
        for (const one of [...this.panes, ...this.earlier]) {
            one.figure.classList.toggle("dq-pane--active", one === pane);
        }
        this.showLight();
    }

    /** Shows these figures large and the others small; none: all of one size. */
    enlarge(figures) {
        for (const figure of this.frames.children) {
            figure.classList.toggle("dq-pane--large", figures.includes(figure));
        }
        this.frames.dataset.large = String(figures.length);
        const button = this.button("enlarge");
        button.setAttribute("aria-pressed", String(figures.length === 1));
        button.disabled = figures.length > 1;
    }

    // Tools

    connectTools() {
        for (const button of this.section.querySelectorAll("[data-do]")) {
            button.addEventListener("click", () => this.do(button.dataset.do));
        }
        for (const button of this.section.querySelectorAll("[data-opens]")) {
            button.addEventListener("click", () => this.togglePanel(button));
        }
        for (const slider of this.section.querySelectorAll("[data-light]")) {
            slider.addEventListener("input", () => {
                this.active.setLight({ [slider.dataset.light]: Number(slider.value) });
                this.showLight();
            });
        }
        this.measuring = new Measuring(this.panel("measure"), this);
        const compare = this.panel("compare");
        this.comparison = compare && new Comparison(compare, this);
        this.button("full-screen").hidden = !document.fullscreenEnabled;
        document.addEventListener("fullscreenchange", () => this.showFullScreen());
    }

    do(action) {
        if (action === "enlarge") {
            const { figure } = this.active;
            const isLarge = figure.classList.contains("dq-pane--large");
            if (!this.button("enlarge").disabled) {
                this.enlarge(isLarge ? [] : [figure]);
            }
        } else if (action === "reset") {
            this.openPanes().forEach((pane) => pane.reset());
        } else if (action === "full-screen") {
            this.toggleFullScreen();
        } else if (action === "stop") {
            this.stopMarking();
        } else {
            this.active.do(action);
        }
        this.showLight();
    }

    button(action) {
        return this.section.querySelector(`[data-do="${action}"]`);
    }

    panel(name) {
        return this.section.querySelector(`[data-panel="${name}"]`);
    }

    togglePanel(button) {
        const panel = this.panel(button.dataset.opens);
        panel.hidden = !panel.hidden;
        button.setAttribute("aria-expanded", String(!panel.hidden));
        if (panel.hidden) {
            this.stopMarking();
        }
    }

    showLight() {
        for (const slider of this.section.querySelectorAll("[data-light]")) {
            const value = this.active?.light[slider.dataset.light] ?? 100;
            slider.value = String(value);
            slider.setAttribute("aria-valuetext", `${value} percent`);
        }
    }

    async toggleFullScreen() {
        await (document.fullscreenElement ? document.exitFullscreen() : this.section.requestFullscreen());
    }

    showFullScreen() {
        const isFull = document.fullscreenElement === this.section;
        this.button("full-screen").setAttribute("aria-pressed", String(isFull));
        this.openPanes().forEach((pane) => pane.letPageScroll());
    }

    // Marking: one at a time, on any photo

    /** @param marking {mark(pane, point), stop()} who is told of each mark, and of the end */
    startMarking(marking) {
        this.stopMarking();
        this.marking = marking;
        this.showCrosshair(true);
    }

    stopMarking() {
        const { marking } = this;
        this.marking = undefined;
        this.showCrosshair(false);
        marking?.stop();
    }

    showCrosshair(shown) {
        for (const pane of this.openPanes()) {
            pane.crosshair = shown;
            pane.drawOver();
        }
    }
}

for (const section of document.querySelectorAll("[data-desk-viewer]")) {
    const viewer = new DeskViewer(section);
    // A page that is left may be kept for the way back: without the photos, which open anew then.
    window.addEventListener("pagehide", () => viewer.close());
    window.addEventListener("pageshow", (event) => {
        if (event.persisted) {
            viewer.open();
        }
    });
    viewer.open();
}
