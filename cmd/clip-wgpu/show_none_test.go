//go:build !glfw && !darwin && !windows

package main

import "testing"

func TestShowSaysHowToBuildIt(t *testing.T) {
	program(t, "classify", example("pizza"), "--labels", "a", "--show").requireFailure(t, exitUsage, "--show", "-tags glfw")
}
