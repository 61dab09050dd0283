// Chromium, headless.

import { accessSync } from "node:fs";
import { chromium } from "playwright-core";

const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].filter(Boolean);

export async function launchBrowser() {
  const executablePath = candidates.find((path) => {
    try {
      accessSync(path);
      return true;
    } catch {
      return false;
    }
  });
  if (!executablePath) throw new Error(`no Chromium at ${candidates.join(" or ")}: apt-get install chromium`);
  const quiet = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  // A page that a test puts in the place of an answer comes from no address, so that Chromium would keep it from local ones.
  const local = "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets";
  return chromium.launch({ executablePath, args: ["--no-sandbox", local, ...quiet] });
}
