//! The account at the server: made once, kept, and used again.

use std::sync::Arc;

use instant_acme::{Account, AccountCredentials, NewAccount};
use log::{error, info, warn};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::Settings;
use super::client::Client;
use super::failure::{Failure, Kind};
use super::folder::Folder;

/// What the account is kept as.
const FILE: &str = "account.json";

/// Has the account ready.
#[derive(Clone)]
pub(super) struct Accounts {
    settings: Arc<Settings>,
    folder: Folder,
    /// Locked while the account is made, so that there is one.
    open: Arc<Mutex<Option<Account>>>,
}

/// The file's contents.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    contact: Vec<String>,
    credentials: AccountCredentials,
}

impl Accounts {
    pub(super) fn new(settings: Arc<Settings>, folder: Folder) -> Self {
        Self {
            settings,
            folder,
            open: Arc::default(),
        }
    }

    /// The account: that of before, or the one that is kept, or else a new one.
    pub(super) async fn account(&self) -> Result<Account, Failure> {
        let mut open = self.open.lock().await;
        if let Some(account) = &*open {
            return Ok(account.clone());
        }
        let client = Client::new(self.settings.ca.as_deref())
            .map_err(|what| Failure::new(Kind::Other, what))?;
        let account = match self.kept()? {
            Some(kept) => self.reopen(kept, client).await?,
            None => self.make(client).await?,
        };
        Ok(open.insert(account).clone())
    }

    /// Gives up `account`, which the server does not know; the next to ask gets a new one.
    pub(super) async fn forget(&self, account: &Account) {
        let mut open = self.open.lock().await;
        if (open.as_ref()).is_some_and(|current| current.id() == account.id()) {
            *open = None;
            self.set_aside("is of an account that the server does not know");
        }
    }

    fn kept(&self) -> Result<Option<Kept>, Failure> {
        let path = self.folder.file(FILE);
        let text = self.folder.read(FILE).map_err(|error| {
            let what = format!("{} cannot be read: {error}", path.display());
            Failure::new(Kind::Other, what)
        })?;
        let Some(text) = text else {
            return Ok(None);
        };
        let why = match serde_json::from_slice::<Kept>(&text) {
            Ok(kept) if kept.directory == self.settings.directory => return Ok(Some(kept)),
            Ok(kept) => format!("is of another server, {}", kept.directory),
            Err(error) => format!("is damaged ({error})"),
        };
        self.set_aside(&why);
        Ok(None)
    }

    fn set_aside(&self, why: &str) {
        let path = self.folder.file(FILE);
        let path = path.display();
        match self.folder.set_aside(FILE) {
            Ok(aside) => warn!(
                "{path} {why} and was set aside as {}: a new account is made",
                aside.display()
            ),
            Err(error) => error!("{path} {why} and cannot be set aside: {error}"),
        }
    }

    async fn reopen(&self, kept: Kept, client: Client) -> Result<Account, Failure> {
        let builder = Account::builder_with_http(Box::new(client.clone()));
        // The library takes the credentials and gives none back, and they are written again below.
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        let account = builder
            .from_credentials(kept.credentials)
            .await
            .map_err(|error| self.unreachable(error))?;
        if kept.contact != self.settings.contact {
            let contact: Vec<_> = self.settings.contact.iter().map(String::as_str).collect();
            account.update_contacts(&contact).await?;
            if let Ok(kept) = serde_json::from_slice::<Kept>(&text) {
                self.keep(kept.credentials);
            }
        }
        Ok(account)
    }

    async fn make(&self, client: Client) -> Result<Account, Failure> {
        let contact: Vec<_> = self.settings.contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.settings.directory.clone();
        let (account, credentials) = Account::builder_with_http(Box::new(client))
            .create(&new, directory, None)
            .await
            .map_err(|error| self.unreachable(error))?;
        info!(
            "made the account {} at {}",
            account.id(),
            self.settings.directory
        );
        self.keep(credentials);
        Ok(account)
    }

    fn keep(&self, credentials: AccountCredentials) {
        let kept = Kept {
            directory: self.settings.directory.clone(),
            contact: self.settings.contact.clone(),
            credentials,
        };
        let text = serde_json::to_vec_pretty(&kept).map_err(std::io::Error::from);
        if let Err(error) = text.and_then(|text| self.folder.write(FILE, &text)) {
            error!(
                "{} cannot be written: {error}: the next callboard will make another account",
                self.folder.file(FILE).display()
            );
        }
    }

    fn unreachable(&self, error: instant_acme::Error) -> Failure {
        Failure::from(error).during(&format!("the account at {}", self.settings.directory))
    }
}
