// Keeps a case with the reader who is at work on it: once a minute, if a key, a pointer or a scroll
// moved since, the claim is renewed. Shortly before it ends, and when it is lost, the page says so.
// What was typed stays on the page.

const EVERY_MS = 60_000;
const ENDS_SOON_MS = 5 * 60_000;
const ACTIVITY = ["keydown", "pointerdown", "pointermove", "scroll", "input"];

const WORDS = {
    soon: "Your time with this case ends soon. Move the mouse or press a key to keep it.",
    lost: "You do not hold this case any more. Copy what you wrote, then take the case again.",
    failed: "The connection is lost. What you write stays on this page.",
};

function setUp(box) {
    const time = box.querySelector("[data-claim-time]");
    const status = box.querySelector("[data-claim-status]");
    let ends = performance.now() + 1000 * Number(box.dataset.claimLeft);
    let active = false;
    let held = true;

    function say(words) {
        if (status.textContent !== words) {
            status.textContent = words;
        }
    }

    async function renew() {
        active = false;
        const answer = await fetch(box.dataset.claim, {
            method: "POST",
            headers: { Accept: "application/json", "X-CSRFToken": box.dataset.token },
        });
        if (!answer.ok) {
            held = answer.status >= 500 || answer.status === 429;
            active = held;
            say(held ? WORDS.failed : WORDS.lost);
            return;
        }
        const claim = await answer.json();
        ends = performance.now() + 1000 * claim.left;
        time.textContent = claim.until;
        say("");
    }

    async function beat() {
        if (!held) {
            return;
        }
        try {
            if (active) {
                await renew();
            } else if (ends - performance.now() < ENDS_SOON_MS) {
                say(WORDS.soon);
            }
        } catch {
            active = true;
            say(WORDS.failed);
        }
    }

    for (const kind of ACTIVITY) {
        document.addEventListener(kind, () => (active = true), { passive: true, capture: true });
    }
    setInterval(beat, EVERY_MS);
}

const box = document.querySelector("[data-claim]");
if (box) {
    setUp(box);
}
