"""Meta's Graph API: what we say (`protocol`), what answers mean (`verdicts`), the one module that talks (`client`)."""
