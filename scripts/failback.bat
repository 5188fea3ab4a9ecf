@echo off
rem Moves a device of an IoT Central application back to its own hub.
rem The program is failover.exe from the PATH (without .exe this file would call itself), or the one that
rem FAILOVER names. docs\az.md describes the other settings.
setlocal
if "%~1"=="" goto usage
if "%~2"=="" goto usage
if "%~3"=="" goto usage
if "%~4"=="" goto usage
if not "%~5"=="" goto usage
if not defined FAILOVER set "FAILOVER=failover.exe"
"%FAILOVER%" central device manual-failback -n "%~1" -d "%~2" --central-api-uri "%~3" --central-dns-suffix "%~4"
exit /b %ERRORLEVEL%

:usage
echo usage: %~nx0 APPLICATION-ID DEVICE-ID APPLICATION-HOST-NAME DNS-SUFFIX 1>&2
exit /b 2
