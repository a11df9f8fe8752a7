//! Registry of accounts, planner, dispatch, reconcile and revocation policy.
