def table(found): return ""
