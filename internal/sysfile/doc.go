// Package sysfile asks for what each system has in its own way: locks of files, and whether
// a disk is full.
package sysfile
