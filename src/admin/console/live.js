// Keeps an open page up to date: asks for it again, and puts what is new in the place of what was there. That is no use of
// the session, which ends by itself. Nothing is replaced that somebody is working with.
"use strict";

const EVERY = 5000;
const regions = () => document.querySelectorAll("[data-live]");

const isWorkedWith = (region) => {
    const selection = document.getSelection();
    const selects = selection && !selection.isCollapsed && region.contains(selection.anchorNode);
    const isOpen = region.querySelector("details[open]") !== null;
    return region.contains(document.activeElement) || selects || isOpen;
};

const replace = (page) => {
    let hasNews = false;
    for (const region of regions()) {
        const next = page.getElementById(region.id);
        if (!next || isWorkedWith(region)) continue;
        hasNews = hasNews || next.dataset.newest !== region.dataset.newest;
        region.replaceWith(document.adoptNode(next));
    }
    if (hasNews) document.getElementById("news").textContent = "There is something new on this page.";
};

const look = () => {
    if (document.hidden) return;
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    request.responseType = "document";
    request.setRequestHeader("X-Console-Refresh", "1");
    request.onload = () => {
        // The session is over, and so is what the page shows of it.
        if (new URL(request.responseURL).pathname !== location.pathname) location.reload();
        else if (request.responseXML) replace(request.responseXML);
    };
    request.send();
};

if (regions().length > 0 && location.protocol.startsWith("http")) setInterval(look, EVERY);
