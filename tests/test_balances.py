"""The table `balances`: what the account has left, asked for once an hour and never in the way of a sync."""
