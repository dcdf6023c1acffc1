"use strict";
// The confusion matrices, the gallery of errors and the dialog on one image. All of them show the
// same images, each of which the page holds once, in the element #records.
const records = JSON.parse(document.getElementById("records").textContent);
const { classes, models, parts, causes, images, errors } = records;
const STEP = { images: 48, cards: 12 }; // how many more each press of a button shows
const $ = (id) => document.getElementById(id);

const errorsOf = new Map();
errors.forEach((error) => {
  errorsOf.set(error.image, [...(errorsOf.get(error.image) || []), error]);
});

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const className = (i) => classes[images.class[i]];
const isWrong = (i, model) => images.answer[model][i] !== images.class[i];
const percent = (share) => `${Math.round(100 * share)}%`;
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function answerText(i, model) {
  const named = classes[images.answer[model][i]];
  const sure = percent(images.confidence[model][i]);
  return `${models[model]}: ${named}, ${sure} sure, ${isWrong(i, model) ? "wrong" : "right"}`;
}

function picture(i, alt) {
  const size = records.side;
  const source = `data:image/webp;base64,${images.picture[i]}`;
  return make("img", { alt, width: size, height: size, decoding: "async", src: source });
}

const describe = (i) => `${className(i)}, ${parts[images.part[i]]} image ${images.id[i]}`;

// A picture that opens the dialog; its caption is read with it.
function tile(i, caption, extra = "") {
  const button = make("button", { type: "button", class: `tile ${extra}` });
  button.append(picture(i, describe(i)), make("span", {}, caption));
  button.addEventListener("click", () => openDetail(i));
  return button;
}

function overlay(i, heat, caption) {
  if (heat === null) return make("figure", {}, picture(i, describe(i)), make("figcaption", {}, `${caption}: no map`));
  const layer = make("img", { alt: "", class: "heat", src: `data:image/webp;base64,${heat}` });
  const box = make("span", { class: "overlay" }, picture(i, `Heat map: ${caption}`), layer);
  return make("figure", {}, box, make("figcaption", {}, caption));
}

// What explains one error: heat maps, sentence and neighbours.
function explanation(error) {
  const i = error.image;
  const answer = classes[images.answer[error.model][i]];
  const near = error.near.map((j) => {
    const same = images.class[j] === images.class[i];
    const caption = `${className(j)}, ${records.group} ${images.group[j]}`;
    return make("li", {}, tile(j, caption, same ? "same" : "other"));
  });
  return make(
    "div", { class: "explanation" },
    make("p", {}, make("strong", {}, `${capital(causes[error.cause])}. `), error.sentence),
    make(
      "div", { class: "heats" },
      overlay(i, error.heat[0], `for ${answer}, its answer`),
      overlay(i, error.heat[1], `for ${className(i)}, the actual class`),
    ),
    make("p", { class: "found" }, `Most alike in training, framed in blue if ${className(i)}, too:`),
    make("ol", { class: "images near" }, ...near),
  );
}

function card(error) {
  const i = error.image;
  const answer = classes[images.answer[error.model][i]];
  const title = make("h4", { tabindex: "-1" }, `${className(i)} taken for ${answer}`);
  const sure = percent(images.confidence[error.model][i]);
  const margin = Math.round(100 * error.margin);
  return make(
    "article", { class: "card" },
    title,
    make("p", { class: "found" }, `${models[error.model]}, ${sure} sure, ${margin} points ahead of the actual class`),
    make("div", { class: "card-body" }, tile(i, images.id[i]), explanation(error)),
  );
}

function openDetail(i) {
  const answers = Object.keys(models).map((model) => make("li", {}, answerText(i, model)));
  const found = errorsOf.get(i) || [];
  $("detail-content").replaceChildren(
    make("h3", { id: "detail-title", tabindex: "-1" }, className(i)),
    make("p", { class: "found" }, `${parts[images.part[i]]} image ${images.id[i]}, ${records.group} ${images.group[i]}`),
    make("div", { class: "detail-top" }, picture(i, describe(i)), make("ul", {}, ...answers)),
    ...found.flatMap((error) => [make("h4", {}, `Why the ${models[error.model]} was wrong`), explanation(error)]),
  );
  if ($("detail").open) $("detail-title").focus(); // the button that was pressed is gone
  else $("detail").showModal();
  $("detail").scrollTop = 0;
}

// A list that grows at the press of a button, so that thousands of images do not have to be drawn.
function growing(list, more, step, draw) {
  let rest = [];
  const show = () => {
    const drawn = rest.splice(0, step).map(draw);
    list.append(...drawn);
    more.hidden = rest.length === 0;
    more.textContent = `Show ${Math.min(step, rest.length)} more of ${rest.length.toLocaleString("en")}`;
    return drawn[0];
  };
  more.addEventListener("click", () => {
    const first = show();
    const target = first.querySelector("button, [tabindex]") || first;
    target.focus({ preventScroll: true });
  });
  return (all) => {
    list.replaceChildren();
    rest = [...all];
    show();
  };
}

function setUpMatrices() {
  const showImages = growing($("cell-images"), $("cell-more"), STEP.images, (i) =>
    make("li", {}, tile(i, `${percent(images.confidence[$("matrix-model").value][i])} sure`)),
  );
  const choose = (model, actual, answer, button) => {
    const n = Number(button.textContent.replace(/,/g, ""));
    document.querySelectorAll(".matrix [aria-pressed=true]").forEach((other) => other.setAttribute("aria-pressed", "false"));
    button.setAttribute("aria-pressed", "true");
    const found = [...images.id.keys()].filter(
      (i) => images.part[i] === "test" && images.class[i] === actual && images.answer[model][i] === answer,
    );
    found.sort((a, b) => images.confidence[model][b] - images.confidence[model][a]);
    const what = actual === answer ? "named right" : `taken for ${classes[answer]}`;
    const some = found.length < n ? `${found.length} on this page of ` : "";
    $("cell-title").textContent = `${some}${plural(n, "image")} of ${classes[actual]} ${what} by the ${models[model]}${found.length > 1 ? ", the surest first" : ""}.`;
    showImages(found);
  };
  document.querySelectorAll(".matrix").forEach((matrix) => {
    const model = matrix.dataset.model;
    matrix.querySelectorAll("tbody tr").forEach((row, actual) => {
      row.querySelectorAll("[data-cell]").forEach((cell) => {
        const answer = Number(cell.dataset.cell);
        const n = cell.textContent;
        const what = actual === answer ? "named right" : `taken for ${classes[answer]}`;
        const button = make("button", { type: "button", tabindex: "-1", "aria-pressed": "false", "aria-label": `${n} ${classes[actual]} ${what}` }, n);
        button.addEventListener("click", () => choose(model, actual, answer, button));
        cell.replaceChildren(button);
      });
    });
    walkByArrows(matrix.querySelector("tbody"));
  });
  const swap = () => {
    document.querySelectorAll(".matrix").forEach((matrix) => {
      matrix.hidden = matrix.dataset.model !== $("matrix-model").value;
    });
    document.querySelectorAll(".matrix [aria-pressed=true]").forEach((other) => other.setAttribute("aria-pressed", "false"));
    $("cell-title").textContent = "No number chosen yet.";
    showImages([]);
  };
  $("matrix-model").addEventListener("change", swap);
  swap();
}

// One stop of the tabulator key for a whole matrix; inside, arrow keys go to the next number.
function walkByArrows(body) {
  const grid = [...body.rows].map((row) => [...row.cells].map((cell) => cell.querySelector("button")));
  const first = grid.flat().find(Boolean);
  if (first) first.tabIndex = 0;
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  body.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const from = event.target.closest("button");
    if (!step || !from) return;
    event.preventDefault();
    let row = grid.findIndex((line) => line.includes(from));
    let column = grid[row].indexOf(from);
    do {
      row += step[0];
      column += step[1];
    } while (grid[row] && column >= 0 && column < grid[row].length && !grid[row][column]);
    if (grid[row] && grid[row][column]) grid[row][column].focus();
  });
  body.addEventListener("focusin", (event) => {
    grid.flat().forEach((button) => button && (button.tabIndex = -1));
    event.target.tabIndex = 0;
  });
}

function setUpGallery() {
  if (!$("gallery")) return;
  const showCards = growing($("error-cards"), $("error-more"), STEP.cards, card);
  const filters = ["model", "cause", "class", "answer"].map((name) => $(`error-${name}`));
  const sure = (error) => images.confidence[error.model][error.image];
  const ordered = [...errors].sort((a, b) => sure(b) - sure(a));
  const update = () => {
    const [model, cause, actual, answer] = filters.map((filter) => filter.value);
    const found = ordered.filter(
      (error) =>
        (!model || error.model === model) &&
        (!cause || error.cause === cause) &&
        (!actual || images.class[error.image] === Number(actual)) &&
        (!answer || images.answer[error.model][error.image] === Number(answer)),
    );
    $("error-count").textContent = `${found.length.toLocaleString("en")} of ${plural(errors.length, "error")}${errors.length < records.every ? ` on this page, of ${records.every.toLocaleString("en")} in all` : ""}, the surest first`;
    showCards(found);
  };
  filters.forEach((filter) => filter.addEventListener("change", update));
  update();
}

setUpMatrices();
setUpGallery();
