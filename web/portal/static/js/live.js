// Loads a part of a page again every ten seconds while somebody looks at it. After ten minutes it
// stops, so that a page left open does not keep its person signed in.

const EVERY_MS = 10_000;
const LAST_ROUND = 60;

const WORDS = {
    live: "These numbers refresh by themselves.",
    paused: "These numbers stand still.",
    failed: "The numbers could not be loaded.",
};

async function refresh(part, status) {
    const known = part.dataset.version;
    const answer = await fetch(part.dataset.live, {
        headers: { Accept: "text/html", ...(known && { "If-None-Match": known }) },
    });
    if (answer.status === 304) {
        status.textContent = WORDS.live;
        return true;
    }
    if (!answer.ok || answer.redirected) {
        status.textContent = WORDS.failed;
        return false;
    }
    const focused = part.contains(document.activeElement);
    if (!focused) {
        part.innerHTML = await answer.text();
        part.dataset.version = answer.headers.get("ETag") ?? "";
    }
    status.textContent = WORDS.live;
    return true;
}

async function run(part, status) {
    status.textContent = WORDS.live;
    for (let round = 0; round < LAST_ROUND; round += 1) {
        await new Promise((done) => setTimeout(done, EVERY_MS));
        if (document.hidden) {
            continue;
        }
        try {
            if (!(await refresh(part, status))) {
                return;
            }
        } catch {
            status.textContent = WORDS.failed;
        }
    }
    status.textContent = WORDS.paused;
}

const part = document.querySelector("[data-live]");
const status = document.querySelector("[data-live-status]");
if (part && status) {
    run(part, status);
}
