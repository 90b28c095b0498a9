package chaos

// Page is docs/chaos.md.
func Page(results []Result) string { return "" }
