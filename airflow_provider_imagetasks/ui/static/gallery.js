// The entry of the gallery in the Airflow UI. Airflow imports it under one address per place (page, run, task instance)
// and takes the component from a global of the place's name, else from AirflowPlugin.
import { Gallery } from "./page.js";

const sheet = new URL("gallery.css", import.meta.url).href;
if (!document.querySelector(`link[href="${sheet}"]`)) {
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: sheet }));
}

for (const name of ["Image tasks", "Pictures", "AirflowPlugin"]) {
  globalThis[name] = Gallery;
}
