package dev.espalier.kernels;

/// The dense algebra that solvers ask of a device.
public interface LinearAlgebra {}
