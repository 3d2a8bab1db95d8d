//go:build !glfw && !darwin && !windows

package main

import "testing"

func TestShowSaysHowToBuildIt(t *testing.T) {
	program(t, "classify", example("pizza"), "--labels", "a", "--show").requireFailure(t, exitUsage, "--show", "-tags glfw")
}

func TestDemoSaysHowToBuildIt(t *testing.T) {
	program(t, "demo").requireFailure(t, exitUsage, "make desktop")
	program(t, "demo", "pictures").requireFailure(t, exitUsage, "takes no arguments", "clip-wgpu index")
}
