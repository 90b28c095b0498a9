package verify

// checkCorrelation is I11: everything about an order carries the correlation id of the request that
// began it. Log lines are not among what is read; a test looks at them.
func checkCorrelation(o *order, _ *look, f *findings) {
	want := o.correlation()
	if want == "" && !o.placed() {
		return
	}
	if o.foreign(everyone...) { // a stranger's record brings its own
		f.exempt(i11)
		return
	}
	f.checked(i11, 1)
	if want == "" {
		f.wrong(i11, o, nil, "nothing that is known of it has a correlation id")
		return
	}
	for _, r := range o.Rows {
		if r != nil && r.Correlation != want && r.Version > 0 { // a row that was only marked has none yet
			f.wrong(i11, o, nil, "its row at %s has the correlation id %q, want %q", r.Service, r.Correlation, want)
		}
	}
	for _, e := range o.History {
		if e.Correlation != want {
			f.wrong(i11, o, nil, "version %d of its history has the correlation id %q, want %q", e.Version, e.Correlation, want)
		}
	}
	for _, r := range o.events {
		if r.Correlation != want && r.ours() {
			f.wrong(i11, o, places(r), "%s has the correlation id %q, want %q", r.what(), r.Correlation, want)
		}
	}
	for i := range o.Letters {
		if one := &o.Letters[i]; one.Correlation != want && o.lookup[one.Message] != nil && o.lookup[one.Message].ours() {
			f.wrong(i11, o, []string{one.where()}, "a letter has the correlation id %q, want %q", one.Correlation, want)
		}
	}
}

// correlation is the id that the order began with: its row's, else that of the first thing said of it.
func (o *order) correlation() string {
	if r := o.Rows[orders]; r != nil && r.Correlation != "" {
		return r.Correlation
	}
	for _, r := range o.events {
		if r.ours() && r.Correlation != "" {
			return r.Correlation
		}
	}
	return ""
}
