package payment

// View is a payment as users see it.
type View struct {
	Payment
	// Tries is how often the step the row waits for has been called so far; 0 if it
	// waits for none, or was not called yet. The row does not know: calls without
	// an answer do not touch it.
	Tries int
}

// Shown is the status users see: a charge that is still to be made, and one that
// has been asked about in vain, have names of their own.
func (v View) Shown() Status {
	switch {
	case v.Status == StatusCharging && v.Tries == 0:
		return StatusInitiated
	case v.Status == StatusCharging && v.Tries > 1:
		return StatusUnknown
	default:
		return v.Status
	}
}

// Calls is how many calls the step under way has taken so far, or the last one took.
func (v View) Calls() int {
	if v.Tries > 0 {
		return v.Tries
	}
	return v.Attempts
}
