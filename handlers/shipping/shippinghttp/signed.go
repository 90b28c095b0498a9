package shippinghttp

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"millrace/event"
	"millrace/signature"
)

// signed lets through only what was signed with secret: before the body is
// looked at any closer, so that strangers learn nothing from what is wrong with it.
func signed(api huma.API, secret []byte) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humachi.Unwrap(ctx)
		// The frame has bounded the body and holds it in memory.
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = signature.Verify(secret, body, r.Header.Get(signature.Header), time.Now())
		}
		if err != nil {
			slog.WarnContext(ctx.Context(), "carrier's callback refused", "error", err,
				"correlation_id", event.CauseFrom(ctx.Context()).CorrelationID)
			// A client that is gone by now is no error of ours.
			_ = huma.WriteErr(api, ctx, http.StatusUnauthorized,
				"The signature is missing, wrong or too old. Sign the body with "+signature.Header+": t=<unix seconds>,v1=<hex of HMAC-SHA256>.")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next(ctx)
	}
}
