// The entry of the gallery in the Airflow UI. Airflow imports it under one address per place (page, run, task instance)
// and takes the component from a global of the place's name, else from AirflowPlugin.
import { Overview } from "./overview.js";
import { Gallery } from "./page.js";
// What those import in turn, named here so that the browser fetches all at once instead of one after the other.
import "./address.js";
import "./batch.js";
import "./cards.js";
import "./clear.js";
import "./compare.js";
import "./copying.js";
import "./elements.js";
import "./facts.js";
import "./filters.js";
import "./grid.js";
import "./notices.js";
import "./pages.js";
import "./pictures.js";
import "./progress.js";
import "./selection.js";
import "./totals.js";
import "./viewer.js";
import "./words.js";

const sheet = new URL("gallery.css", import.meta.url).href;
if (!document.querySelector(`link[href="${sheet}"]`)) {
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: sheet }));
}

for (const name of ["Image tasks", "Pictures", "AirflowPlugin"]) {
  globalThis[name] = Gallery;
}
globalThis["Newest pictures"] = Overview;
