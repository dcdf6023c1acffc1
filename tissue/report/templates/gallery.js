"use strict";
// The confusion matrices, the gallery of errors and the dialog on one image. All of them show the
// images of the element #records, which holds each image once.
const records = JSON.parse(document.getElementById("records").textContent);
const { classes, models, splits, causes, images, errors } = records;
const STEP = { images: 48, errors: matchMedia("(max-width: 34rem)").matches ? 6 : 12 }; // how many more each press of a button shows
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
const percent = (share) => `${(100 * share).toFixed(1)}%`; // as in the tables
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

// A list of what each model predicted.
function predictions(i) {
  const lines = Object.keys(models).map((model) => {
    const answer = classes[images.answer[model][i]];
    const confidence = percent(images.confidence[model][i]);
    return make("li", {}, `${models[model]}: ${answer}, ${confidence} confidence, ${isWrong(i, model) ? "wrong" : "correct"}`);
  });
  return make("ul", {}, ...lines);
}

function picture(i, alt) {
  const size = images.side[i];
  const source = `data:image/webp;base64,${images.picture[i]}`;
  return make("img", { alt, width: size, height: size, decoding: "async", src: source });
}

const describe = (i) => `${className(i)}, ${splits[images.split[i]]} image ${images.id[i]}`;

// A picture that opens the dialog; a screen reader reads its caption with it.
function tile(i, caption, extra = "") {
  const button = make("button", { type: "button", class: `tile ${extra}` });
  button.append(picture(i, describe(i)), make("span", {}, caption));
  button.addEventListener("click", () => openDetail(i));
  return button;
}

function overlay(i, heat, caption) {
  if (heat === null)
    return make("figure", {}, picture(i, describe(i)), make("figcaption", {}, `${caption}: no map`));
  const layer = make("img", { alt: "", class: "heat", src: `data:image/webp;base64,${heat}` });
  const box = make("span", { class: "overlay" }, picture(i, `Heat map: ${caption}`), layer);
  return make("figure", {}, box, make("figcaption", {}, caption));
}

// The explanation of one error: heat maps, sentence and neighbours.
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
      overlay(i, error.heat[0], `for ${answer}, the prediction, rather than ${className(i)}`),
      overlay(i, error.heat[1], `for ${className(i)}, the actual class, rather than ${answer}`),
    ),
    ...(error.branches ? [make("p", {}, error.branches)] : []),
    make("p", { class: "found" }, `Most similar training images, with a blue frame if also ${className(i)}:`),
    make("ol", { class: "images near" }, ...near),
  );
}

function openDetail(i) {
  const found = errorsOf.get(i) || [];
  $("detail-content").replaceChildren(
    make("h3", { id: "detail-title", tabindex: "-1" }, className(i)),
    make("p", { class: "found" }, `${splits[images.split[i]]} image ${images.id[i]}, ${records.group} ${images.group[i]}`),
    make("div", { class: "detail-top" }, picture(i, describe(i)), predictions(i)),
    ...found.flatMap((error) => [make("h4", {}, `Why the ${models[error.model]} was wrong`), explanation(error)]),
  );
  if ($("detail").open) $("detail-title").focus(); // the pressed button is gone
  else $("detail").showModal();
  $("detail").scrollTop = 0;
}

// A list that grows by a button, so that the page does not draw thousands of images at once.
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

const errorCaption = (error) => {
  const { image, model } = error;
  const answer = classes[images.answer[model][image]];
  return `${className(image)} as ${answer}, ${percent(images.confidence[model][image])}: ${causes[error.cause]}`;
};

// Three images of each confusion, with what speaks for the wrong class.
function setUpCards() {
  document.querySelectorAll(".examples").forEach((list) => {
    const { model, actual, answer } = list.dataset;
    const found = ofConfusion(model, actual, answer).slice(0, 3);
    const shown = found.map((error) => {
      const box = tile(error.image, `${percent(images.confidence[model][error.image])} confidence`);
      return make("li", {}, box, overlay(error.image, error.heat[0], `speaks for ${answer}`));
    });
    list.append(...shown);
  });
}

// Errors of a model by class names, highest confidence first.
function ofConfusion(model, actual, answer) {
  const fits = (error) =>
    error.model === model &&
    className(error.image) === actual &&
    classes[images.answer[model][error.image]] === answer;
  const confidence = (error) => images.confidence[model][error.image];
  return errors.filter(fits).sort((a, b) => confidence(b) - confidence(a));
}

function setUpMatrices() {
  const showImages = growing($("cell-images"), $("cell-more"), STEP.images, (i) =>
    make("li", {}, tile(i, `${percent(images.confidence[$("matrix-model").value][i])} confidence`)),
  );
  const release = () => {
    const pressed = document.querySelectorAll("#confusions [aria-pressed=true]");
    pressed.forEach((button) => button.setAttribute("aria-pressed", "false"));
  };
  const named = (actual, answer) =>
    actual === answer ? "classified correctly" : `classified as ${classes[answer]}`;
  const choose = (model, actual, answer, button) => {
    const n = Number(button.textContent.replace(/,/g, ""));
    release();
    button.setAttribute("aria-pressed", "true");
    const found = [...images.id.keys()].filter(
      (i) => images.split[i] === "test" && images.class[i] === actual && images.answer[model][i] === answer,
    );
    found.sort((a, b) => images.confidence[model][b] - images.confidence[model][a]);
    const some = found.length < n ? `${found.length} of ` : "";
    const order = found.length > 1 ? ", highest confidence first" : "";
    $("cell-title").textContent = `${some}${plural(n, "image")} of ${classes[actual]} ${named(actual, answer)} by the ${models[model]}${order}.`;
    showImages(found);
  };
  document.querySelectorAll(".matrix.whole").forEach((matrix) => {
    const model = matrix.dataset.model;
    matrix.querySelectorAll("tbody tr").forEach((row, actual) => {
      row.querySelectorAll("[data-cell]").forEach((cell) => {
        const answer = Number(cell.dataset.cell);
        const n = cell.textContent;
        const label = `${n} ${classes[actual]} ${named(actual, answer)}`;
        const button = make("button", { type: "button", tabindex: "-1", "aria-pressed": "false", "aria-label": label }, n);
        button.addEventListener("click", () => choose(model, actual, answer, button));
        cell.replaceChildren(button);
      });
    });
    walkByArrows(matrix.querySelector("tbody"));
  });
  document.querySelectorAll(".confusion-list span").forEach((number) => {
    const { actual, answer } = number.dataset;
    const { model } = number.closest(".confusion-list").dataset;
    const label = `${number.textContent} ${actual} called ${answer}`;
    const button = make("button", { type: "button", "aria-pressed": "false", "aria-label": label }, number.textContent);
    button.addEventListener("click", () => choose(model, classes.indexOf(actual), classes.indexOf(answer), button));
    number.replaceChildren(button);
  });
  const swap = () => {
    document.querySelectorAll(".matrix.whole, .confusion-list").forEach((matrix) => {
      matrix.hidden = matrix.dataset.model !== $("matrix-model").value;
    });
    release();
    $("cell-title").textContent = "No number selected.";
    showImages([]);
  };
  $("matrix-model").addEventListener("change", swap);
  swap();
}

// One tab stop for a whole matrix; inside it, arrow keys go to the next number.
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
  const showCards = growing($("error-tiles"), $("error-more"), STEP.errors, (error) =>
    make("li", {}, tile(error.image, errorCaption(error))),
  );
  const filters = ["model", "cause", "class", "answer"].map((name) => $(`error-${name}`));
  const confidence = (error) => images.confidence[error.model][error.image];
  const ordered = [...errors].sort((a, b) => confidence(b) - confidence(a));
  const update = () => {
    const [model, cause, actual, answer] = filters.map((filter) => filter.value);
    const found = ordered.filter(
      (error) =>
        (!model || error.model === model) &&
        (!cause || error.cause === cause) &&
        (!actual || images.class[error.image] === Number(actual)) &&
        (!answer || images.answer[error.model][error.image] === Number(answer)),
    );
    const all = errors.length < records.every ? ` on this page (${records.every.toLocaleString("en")} in total)` : "";
    $("error-count").textContent = `${found.length.toLocaleString("en")} of ${plural(errors.length, "error")}${all}, highest confidence first`;
    showCards(found);
  };
  filters.forEach((filter) => filter.addEventListener("change", update));
  update();
}

if (matchMedia("(max-width: 34rem)").matches)
  document.querySelectorAll(".fold, .confused").forEach((fold) => (fold.open = false));
setUpMatrices();
setUpCards();
setUpGallery();
