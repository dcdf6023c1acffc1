// The map: Bokeh draws, zooms and finds the points under the pointer.
function setUpMap(plot) {
  const document_ = plot.document;
  const points = document_.get_model_by_name("points");
  const ring = document_.get_model_by_name("ring");
  const names = document_.get_model_by_name("names");
  const filters = ["class", "split", "model", "answer"].map((name) => $(`map-${name}`));
  let shown = [];
  let walk = [];
  let chosen = null;
  let seen = null;

  const fits = (i) => {
    const [name, split, model, answer] = filters.map((filter) => filter.value);
    return (
      images.x[i] !== null &&
      (!name || images.class[i] === Number(name)) &&
      (!split || images.split[i] === split) &&
      (!answer || isWrong(i, model) === (answer === "wrong"))
    );
  };

  const show = (i) => {
    seen = i;
    ring.data = { x: [images.x[i]], y: [images.y[i]] };
    $("map-image").replaceChildren(
      picture(i, describe(i)),
      make("p", {}, make("strong", {}, className(i)), ` ${splits[images.split[i]]} image ${images.id[i]}`),
      predictions(i),
    );
    $("map-open").disabled = false;
  };

  const choose = (i) => {
    chosen = i;
    show(i);
  };

  const update = () => {
    const model = filters[2].value;
    const every = [...images.id.keys()].filter((i) => images.x[i] !== null);
    shown = every.filter(fits);
    // Training below, errors on top.
    const rank = (i) => (images.split[i] === "test" ? 1 + isWrong(i, model) : 0);
    shown.sort((a, b) => rank(a) - rank(b) || images.class[a] - images.class[b]);
    walk = [...shown].reverse();
    points.selected.indices = [];
    points.data = {
      x: shown.map((i) => images.x[i]),
      y: shown.map((i) => images.y[i]),
      image: shown,
      colour: shown.map((i) => records.colours[images.class[i]]),
      marker: shown.map((i) => records.markers[images.class[i]]),
      size: shown.map((i) => (images.split[i] === "test" ? 9 : 6)),
      fill: shown.map((i) => (images.split[i] === "test" ? 0 : 0.8)), // as in the figures
      line: shown.map((i) => (isWrong(i, model) && images.split[i] === "test" ? "#000000" : records.colours[images.class[i]])),
    };
    names.data = classNames(shown);
    ring.data = { x: [], y: [] };
    chosen = null;
    $("map-open").disabled = true;
    $("map-image").replaceChildren(make("p", { class: "found" }, "No image selected."));
    $("map-count").textContent = `${shown.length.toLocaleString("en")} of ${plural(every.length, "image")}`;
  };

  // Errors first.
  const step = (by) => {
    if (!walk.length) return;
    const last = walk.indexOf(chosen);
    const next = last < 0 ? (by > 0 ? 0 : -1) : last + by;
    points.selected.indices = []; // so that the same point can be tapped again
    choose(walk.at(next % walk.length));
  };

  const pointed = () => {
    const top = points.inspected.indices.at(-1); // drawn last
    if (top !== undefined) show(shown[top]);
    else if (chosen !== null) show(chosen);
  };
  // Bokeh changes the content of `inspected` in place and signals it by `inspect`.
  points.inspect.connect(pointed);
  points.selected.properties.indices.change.connect(() => {
    const top = points.selected.indices.at(-1);
    if (top !== undefined) choose(shown[top]);
  });
  filters.forEach((filter) => filter.addEventListener("change", update));
  $("map-next").addEventListener("click", () => step(1));
  $("map-previous").addEventListener("click", () => step(-1));
  $("map-open").addEventListener("click", () => openDetail(seen));
  // On a touch screen, a drag over the map scrolls the page.
  if (matchMedia("(pointer: coarse)").matches) plot.toolbar.active_drag = null;
  update();
}

// Each class name is at the median of its points, which is inside if they form one cluster.
function classNames(shown) {
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const present = [...new Set(shown.map((i) => images.class[i]))];
  if (present.length > 15) return { x: [], y: [], text: [] };
  const of = (label) => shown.filter((i) => images.class[i] === label);
  return {
    x: present.map((label) => median(of(label).map((i) => images.x[i]))),
    y: present.map((label) => median(of(label).map((i) => images.y[i]))),
    text: present.map((label) => classes[label]),
  };
}

// Drawn when it comes near the screen, so that the page opens sooner.
const near = new IntersectionObserver(
  (entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    // Only now, since reading the library takes longer than the rest of the page.
    document.head.append(make("script", {}, $("library").textContent));
    const item = JSON.parse($("map-item").textContent);
    Bokeh.embed.embed_item(item, "map-plot").then((views) => {
      setUpMap([...views][0].model);
      $("map").dataset.ready = "yes";
    });
  },
  { rootMargin: "800px" },
);
near.observe($("map"));
