package router_test

import (
	"os"
	"testing"

	"millrace/handlers/analytics/analyticshttp"
	"millrace/handlers/inventory/inventoryhttp"
	"millrace/handlers/notification/notificationhttp"
	"millrace/handlers/order/orderhttp"
	"millrace/handlers/payment/paymenthttp"
	"millrace/handlers/shipping/shippinghttp"
	"millrace/httpapi"
)

// apiVersion is the version of the documented contract, not of the program: paths and
// fields are only ever added to it.
const apiVersion = "1"

// docs/openapi.yaml is what /openapi.yaml serves when all services run, but for the
// program's version; run with -update to write it.
func TestOpenAPIIsFresh(t *testing.T) {
	api := httpapi.New(httpapi.Config{Title: "Millrace", Version: apiVersion})
	orderhttp.Register(api.Huma, nil, nil, nil)
	inventoryhttp.Register(api.Huma, nil, nil)
	paymenthttp.Register(api.Huma, nil, nil, nil)
	shippinghttp.Register(api.Huma, nil, nil, nil)
	notificationhttp.Register(api.Huma, nil)
	analyticshttp.Register(api.Huma, nil)
	document, err := api.Huma.OpenAPI().YAML()
	if err != nil {
		t.Fatal(err)
	}
	fresh(t, "../docs/openapi.yaml", document)
}

// fresh compares a file that is generated whole with what it has to be.
func fresh(t *testing.T, path string, generated []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, generated, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != string(generated) {
		t.Errorf("%s is stale: run make generate", path)
	}
}
