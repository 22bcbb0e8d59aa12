"""Editing images in any place: one module for each verb, and the steps that they share.

An edit reads documents, never a layer unless it has to; makes new documents by the pure functions
of `ocitool.editing`; and has the result copied to its destinations as `copy` and `push` do it.
"""
