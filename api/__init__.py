"""How people and clocks reach it: command line, web pages, JSON API, scheduled jobs; and the cycle, which alone joins the parts."""
