//! Chromium by way of its driver: the few `WebDriver` calls that the tests need, as plain JSON over HTTP. Holds no test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// The key under which `WebDriver` names elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What a phone shows at once, and what a screen does.
pub const PHONE: (u32, u32) = (390, 844);
pub const SCREEN: (u32, u32) = (1280, 900);

/// A browser; it ends when dropped.
pub struct Chromium {
    driver: Child,
    session: String,
    http: reqwest::Client,
    runtime: Runtime,
    profile: TempDir,
}

impl Chromium {
    /// Starts one of its own.
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver =
            driver.spawn().expect("chromedriver is there: apt-get install chromium chromium-driver");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let mut ready = lines.map_while(Result::ok).filter(|line| line.contains("successfully on port"));
        let line = ready.next().expect("the driver says its port");
        let port: String = line.rsplit(' ').next().unwrap().chars().filter(char::is_ascii_digit).collect();
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || ready.for_each(drop));
        let mut chromium = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            http: reqwest::Client::new(),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            profile: tempfile::tempdir().unwrap(),
        };
        let opened = chromium.post("", &chromium.capabilities());
        let id = opened["sessionId"].as_str().unwrap().to_owned();
        chromium.session = format!("{}/{id}", chromium.session);
        chromium
    }

    fn capabilities(&self) -> Value {
        let own = format!("--user-data-dir={}", self.profile.path().display());
        json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", own,
            ]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}})
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Value {
        self.runtime.block_on(async {
            let answer: Value =
                serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap();
            assert!(answer["value"].get("error").is_none(), "{answer}");
            answer["value"].clone()
        })
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.session));
        self.send(request.header("content-type", "application/json").body(body.to_string()))
    }

    fn get(&self, path: &str) -> Value {
        self.send(self.http.get(format!("{}{path}", self.session)))
    }

    /// Opens an address.
    pub fn open(&self, address: &str) {
        self.post("/url", &json!({"url": address}));
    }

    /// Goes back to the page before, and waits until it is there.
    pub fn back(&self) {
        self.post("/back", &json!({}));
    }

    /// Where it is.
    pub fn address(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    /// The title of the page.
    pub fn title(&self) -> String {
        self.get("/title").as_str().unwrap().to_owned()
    }

    fn element(&self, css: &str) -> String {
        let found = self.post("/element", &json!({"using": "css selector", "value": css}));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks on the one element that this selector means.
    pub fn click(&self, css: &str) {
        self.post(&format!("/element/{}/click", self.element(css)), &json!({}));
    }

    /// The visible text of an element.
    pub fn text(&self, css: &str) -> String {
        self.get(&format!("/element/{}/text", self.element(css))).as_str().unwrap().to_owned()
    }

    /// Role and name of an element, as a screen reader has them.
    pub fn spoken(&self, css: &str) -> (String, String) {
        let id = self.element(css);
        let word = |what: &str| self.get(&format!("/element/{id}/{what}")).as_str().unwrap().to_owned();
        (word("computedrole"), word("computedlabel"))
    }

    /// What a script returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What was written to the console since the last look.
    pub fn console(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Every address that was asked for since the last look.
    pub fn asked_for(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "performance"}));
        let entries = log.as_array().unwrap().iter();
        let entries =
            entries.map(|entry| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap());
        let sent = entries.filter(|entry| entry["message"]["method"] == "Network.requestWillBeSent");
        sent.map(|entry| entry["message"]["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Shows the page in that size, dark or light.
    pub fn look(&self, (width, height): (u32, u32), dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        for (command, params) in [
            (
                "Emulation.setDeviceMetricsOverride",
                json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
            ),
            (
                "Emulation.setEmulatedMedia",
                json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
            ),
        ] {
            self.post("/goog/cdp/execute", &json!({"cmd": command, "params": params}));
        }
    }

    /// A picture of the page as PNG, in base64.
    pub fn picture(&self) -> String {
        self.get("/screenshot").as_str().unwrap().to_owned()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver takes its browser along; should it be gone already, there is nothing to end.
        let ended = self.http.delete(&self.session);
        let _ = self.runtime.block_on(async { ended.send().await });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
