"""How people and clocks reach it: command line, web pages, JSON API, jobs; and the cycle, which alone joins the parts."""
