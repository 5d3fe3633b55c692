"""Make a page of one session, from a fold over its ledger, that opens anywhere and reaches nothing."""
