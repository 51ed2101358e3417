"""Logistic regression at its exact minimum, for many label columns, row weights and penalties on the same states.

Each file imports only from those above it:

    rows        the states, visited in blocks by several threads; their scale and covariance
    problem     the loss of many label columns: its gradients, and their rounding error
    separation  whether a minimum exists without a penalty
    newton      an approximate Hessian, and its inverse
    lbfgs       L-BFGS for all columns at once, each on its own path of penalties
    solver      the whole: checks, float32, then float64 where that is needed
"""
