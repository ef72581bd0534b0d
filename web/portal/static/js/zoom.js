// Zoom by buttons, + and -, and pan by arrow keys: everything a drag or pinch would do.

const STEP = 1.5;
const MAX_SCALE = 12;
const PAN = 40;

const PANS = {
    ArrowLeft: [PAN, 0],
    ArrowRight: [-PAN, 0],
    ArrowUp: [0, PAN],
    ArrowDown: [0, -PAN],
};

class Zoom {
    constructor(figure) {
        this.figure = figure;
        this.fit();
        figure.style.overflow = "hidden";
        figure.tabIndex = 0;
        figure.addEventListener("keydown", (event) => this.onKey(event));
    }

    onKey(event) {
        if (event.target !== this.figure) {
            return;
        }
        const pan = PANS[event.key];
        if (pan) {
            this.x += pan[0];
            this.y += pan[1];
            this.apply();
        } else if (event.key === "+" || event.key === "-") {
            this.by(event.key === "+" ? STEP : 1 / STEP);
        } else if (event.key === "0") {
            this.fit();
        } else {
            return;
        }
        event.preventDefault();
    }

    by(factor) {
        const scale = Math.min(MAX_SCALE, Math.max(1, this.scale * factor));
        this.x *= scale / this.scale;
        this.y *= scale / this.scale;
        this.scale = scale;
        this.apply();
    }

    fit() {
        Object.assign(this, { scale: 1, x: 0, y: 0 });
        this.apply();
    }

    /** Keeps the edge of the picture from coming inside the frame. */
    apply() {
        const canvas = this.figure.querySelector("canvas");
        const slackX = ((this.scale - 1) * (canvas?.offsetWidth ?? 0)) / 2;
        const slackY = ((this.scale - 1) * (canvas?.offsetHeight ?? 0)) / 2;
        this.x = Math.min(slackX, Math.max(-slackX, this.x));
        this.y = Math.min(slackY, Math.max(-slackY, this.y));
        canvas?.style.setProperty(
            "transform",
            `translate(${this.x}px, ${this.y}px) scale(${this.scale})`,
        );
    }
}

export function startZoom(section) {
    const figures = [...section.querySelectorAll("figure[data-view]")];
    const zooms = new Map(figures.map((figure) => [figure, new Zoom(figure)]));
    for (const button of section.querySelectorAll("[data-zoom]")) {
        const own = zooms.get(button.closest("figure[data-view]"));
        const targets = own ? [own] : [...zooms.values()];
        button.addEventListener("click", () => {
            for (const zoom of targets) {
                if (button.dataset.zoom === "fit") {
                    zoom.fit();
                } else {
                    zoom.by(button.dataset.zoom === "in" ? STEP : 1 / STEP);
                }
            }
        });
    }
}
