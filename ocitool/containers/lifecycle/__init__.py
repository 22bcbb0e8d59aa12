"""Containers that run: started by an OCI runtime, stopped, waited for, and what they printed.

All that is known of a run lies in the folder `run` of the bundle, so nothing is left when the
bundle goes, and after a reboot the files say what there was: `state` reads them.
"""
