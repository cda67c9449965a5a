"""What tests share: tiny models, made-up runs, a page to click on."""
