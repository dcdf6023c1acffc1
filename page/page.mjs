// Answers pictures with the model beside this file, by ONNX Runtime Web.
import * as ort from "./ort.wasm.min.mjs";

const input = document.querySelector("input");
const status = document.querySelector("[role=status]");
const rows = document.querySelector("tbody");

ort.env.wasm.wasmPaths = "./";
ort.env.wasm.numThreads = 1; // several need headers that few servers send
const about = await (await fetch("model.json")).json();
// The fusions beyond "basic" of onnxruntime-web 1.30 refuse the graph (a merge of wrong shapes).
const session = await ort.InferenceSession.create("model.onnx", { graphOptimizationLevel: "basic" });
document.querySelector("#licence").textContent = `Licence of the model: ${about.licence}.`;
status.textContent = "The model is ready.";

async function pixels(file) {
  const bitmap = await createImageBitmap(file); // upright, in sRGB
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // where a picture is transparent
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const rgb = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    rgb[to++] = data[from];
    rgb[to++] = data[from + 1];
    rgb[to++] = data[from + 2];
  }
  return new ort.Tensor("uint8", rgb, [bitmap.height, bitmap.width, 3]);
}

function describe({ probabilities, distance, tissue }) {
  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  if (tissue.data[0] < about.blank) {
    return `refused: nearly no tissue: ${percent(tissue.data[0])} of the picture, ${100 * about.blank}% expected`;
  }
  if (distance.data[0] > 1) {
    return `refused: unlike the training images: distance ${distance.data[0].toFixed(2)}, at most 1 is usual`;
  }
  return [...probabilities.data]
    .map((share, label) => ({ share, name: about.classes[label] }))
    .sort((one, other) => other.share - one.share)
    .slice(0, 3)
    .map(({ share, name }) => `${name} ${percent(share)}`)
    .join(", ");
}

async function answer(file) {
  try {
    return describe(await session.run({ picture: await pixels(file) }));
  } catch (error) {
    return `cannot be read: ${error.message}`;
  }
}

function show(file, text) {
  const row = rows.insertRow();
  const image = document.createElement("img");
  image.src = URL.createObjectURL(file);
  image.alt = "";
  row.insertCell().append(image);
  row.insertCell().textContent = file.name;
  row.insertCell().textContent = text;
}

async function answerAll(files) {
  document.querySelector("table").hidden = false;
  for (const file of files) {
    status.textContent = `Reading ${file.name}.`;
    show(file, await answer(file));
  }
  status.textContent = `${files.length} answered.`;
}

input.addEventListener("change", () => answerAll([...input.files]));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  answerAll([...event.dataTransfer.files]);
});
