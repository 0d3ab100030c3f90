// While a recording is transcribed, its parts appear; when it is finished, the page becomes that of its transcript.
document.addEventListener("fresh", (event) => {
  if (event.target.querySelector("[data-finished]")) location.reload();
});
