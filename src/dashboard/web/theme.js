// The choice between light and dark. A classic script in the head: the page is never painted in the
// colours that were not chosen.
(() => {
  const root = document.documentElement;
  const choices = ["auto", "light", "dark"];
  const read = () => {
    try {
      return localStorage.getItem("callboard-theme");
    } catch {
      return null; // storage is forbidden: the system decides
    }
  };
  let chosen = choices.includes(read()) ? read() : "auto";
  const apply = () => {
    if (chosen === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", chosen);
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[chosen];
      button.setAttribute("aria-label", `Colours: ${chosen}`);
    };
    show();
    button.addEventListener("click", () => {
      chosen = choices[(choices.indexOf(chosen) + 1) % choices.length];
      try {
        localStorage.setItem("callboard-theme", chosen);
      } catch {
        // It then holds for this page only.
      }
      apply();
      show();
    });
  });
})();
