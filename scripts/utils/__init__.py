"""What the scripts share. Imports run one way, in this order, each file from those before it:

base, data, model, states, scores, probes, saved, sweep, pages
"""
