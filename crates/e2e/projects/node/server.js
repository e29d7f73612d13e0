// Greets whoever asks; with the word "once" it asks itself and ends.
const express = require("express");
const application = express();
application.get("/hello/:name", (request, response) => response.json({ hello: request.params.name }));
const server = application.listen(3000, () => {
  console.log("listening");
  if (process.argv[2] !== "once") return;
  require("http").get("http://127.0.0.1:3000/hello/world", (answer) => {
    answer.on("data", (bytes) => console.log(`${bytes}`));
    answer.on("end", () => server.close());
  });
});
