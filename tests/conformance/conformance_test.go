// Package conformance runs the official conformance suite of the Gateway API as it is, and counts for
// itself: the suite's own report says "passed" of tests that have not ended yet.
package conformance

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"

	official "sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

var profiles = map[suite.ConformanceProfileName]suite.ConformanceProfile{
	suite.GatewayHTTPConformanceProfileName: suite.GatewayHTTPConformanceProfile,
	suite.GatewayGRPCConformanceProfileName: suite.GatewayGRPCConformanceProfile,
	suite.GatewayTLSConformanceProfileName:  suite.GatewayTLSConformanceProfile,
	suite.GatewayTCPConformanceProfileName:  suite.GatewayTCPConformanceProfile,
	suite.GatewayUDPConformanceProfileName:  suite.GatewayUDPConformanceProfile,
}

// ended says of each test that ran to its end whether it passed.
type ended struct {
	lock   sync.Mutex
	passed map[string]bool
}

func TestConformance(t *testing.T) {
	results := ended{passed: map[string]bool{}}
	for i := range tests.ConformanceTests {
		watch(&tests.ConformanceTests[i], &results)
	}
	options := official.DefaultOptions(t)
	if len(options.ConformanceProfiles) == 0 {
		t.Fatal("name the profiles: -conformance-profiles=GATEWAY-HTTP")
	}
	// After all tests, those that run in parallel too.
	t.Cleanup(func() { summarise(t, options, results.passed) })
	official.RunConformanceWithOptions(t, options)
}

// watch notes how a test ends. One that is left out, for a feature that is not claimed, never begins.
func watch(test *suite.ConformanceTest, results *ended) {
	run, name := test.Test, test.ShortName
	test.Test = func(t *testing.T, s *suite.ConformanceTestSuite) {
		t.Cleanup(func() {
			results.lock.Lock()
			defer results.lock.Unlock()
			results.passed[name] = !t.Failed() && !t.Skipped()
		})
		run(t, s)
	}
}

func summarise(t *testing.T, options suite.ConformanceOptions, passed map[string]bool) {
	for _, name := range options.ConformanceProfiles {
		profile, known := profiles[name]
		if !known {
			t.Errorf("no profile %s", name)
			continue
		}
		var core, extended count
		for _, test := range tests.ConformanceTests {
			switch {
			case profile.CoreFeatures.HasAll(test.Features...):
				core.add(test.ShortName, passed)
			case profile.CoreFeatures.Union(profile.ExtendedFeatures).HasAll(test.Features...):
				extended.add(test.ShortName, passed)
			}
		}
		fmt.Printf("%s core: %s\n%s extended: %s\n", name, core, name, extended)
		if narrowed := strings.Contains(flag.Lookup("test.run").Value.String(), "/"); !narrowed && core.left != nil {
			t.Errorf("%s: core tests that did not run: %s", name, strings.Join(core.left, " "))
		}
	}
}

type count struct {
	passed, failed, left []string
}

func (c *count) add(test string, passed map[string]bool) {
	switch good, ran := passed[test]; {
	case !ran:
		c.left = append(c.left, test)
	case good:
		c.passed = append(c.passed, test)
	default:
		c.failed = append(c.failed, test)
	}
}

func (c count) String() string {
	text := fmt.Sprintf("%d run, %d passed", len(c.passed)+len(c.failed), len(c.passed))
	if c.failed != nil {
		text += "; failed: " + strings.Join(c.failed, " ")
	}
	if c.left != nil {
		text += "; not run: " + strings.Join(c.left, " ")
	}
	return text
}
