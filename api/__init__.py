"""How people and clocks reach it: command line, pages, JSON API, jobs; and the cycle, which alone joins the parts."""
