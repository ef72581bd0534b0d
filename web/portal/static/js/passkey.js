// Passkeys: asks the server for a challenge, the browser for its answer, and sends that with the
// form. Everything that counts is checked by the server.

const PROBLEMS = {
    NotAllowedError: "Nothing was sent: the request was stopped or took too long. Try again.",
    InvalidStateError: "This device has a passkey for your account already. Use another device.",
    SecurityError: "Passkeys do not work at this address. Use another way.",
};
const OTHER_PROBLEM = "The passkey could not be used. Try again, or use another way.";

function fromBase64Url(text) {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function toBase64Url(buffer) {
    const binary = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function withBytes(credentials) {
    return (credentials ?? []).map((one) => ({ ...one, id: fromBase64Url(one.id) }));
}

/** The server's JSON as the browser takes it (WebAuthn level 3, section 5.1.8). */
function optionsFrom(json) {
    const options = { ...json, challenge: fromBase64Url(json.challenge) };
    if (json.user) {
        options.user = { ...json.user, id: fromBase64Url(json.user.id) };
        options.excludeCredentials = withBytes(json.excludeCredentials);
    } else {
        options.allowCredentials = withBytes(json.allowCredentials);
    }
    return options;
}

const RESPONSE_PARTS = ["clientDataJSON", "attestationObject", "authenticatorData", "signature"];

/** The browser's answer as the server takes it. */
function jsonOf(credential) {
    const response = {};
    for (const part of [...RESPONSE_PARTS, "userHandle"]) {
        if (credential.response[part]) {
            response[part] = toBase64Url(credential.response[part]);
        }
    }
    return JSON.stringify({
        id: credential.id,
        rawId: toBase64Url(credential.rawId),
        type: credential.type,
        response,
    });
}

async function answerOf(form) {
    const fetched = await fetch(form.dataset.optionsUrl, {
        method: "POST",
        headers: { Accept: "application/json", "X-CSRFToken": form.elements.csrf_token.value },
    });
    const found = await fetched.json();
    if (!fetched.ok) {
        throw new Error(found.error);
    }
    const publicKey = optionsFrom(found);
    return form.dataset.passkey === "create"
        ? navigator.credentials.create({ publicKey })
        : navigator.credentials.get({ publicKey });
}

async function send(form, problem) {
    problem.hidden = true;
    try {
        form.elements.credential.value = jsonOf(await answerOf(form));
    } catch (fault) {
        const ours = fault.name === "Error" && fault.message;
        problem.textContent = PROBLEMS[fault.name] ?? (ours || OTHER_PROBLEM);
        problem.hidden = false;
        return;
    }
    form.submit();
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
    const problem = form.querySelector("[data-passkey-problem]");
    form.hidden = !window.PublicKeyCredential;
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        send(form, problem);
    });
}
